-- What every worker knows: the structure of this configuration, and by shared memory the endpoints of now.
--
-- The structure comes from a file written together with the configuration; the master reads it once. Endpoints are told
-- over the control socket; a worker compares one version number a request and reads only what it needs and lacks.

local cjson = require("cjson.safe")
local hash = require("fairlead_hash")

local endpoints = ngx.shared.fairlead_endpoints
local now, random = ngx.now, math.random

local M = { generation = "", locations = {} }

local structure = { upstreams = {} }
local known = {}
local INITIAL_EWMA = 0

function M.load(path)
    local file = assert(io.open(path, "rb"))
    local text = file:read("*a")
    file:close()
    local found = assert(cjson.decode(text))
    structure = found
    M.generation = found.generation
    for id, location in pairs(found.locations) do
        location.id = id
    end
    M.locations = found.locations
end

local function read(upstream, version)
    local raw = endpoints:get(upstream.id)
    upstream.version = version
    if raw == upstream.raw then
        return
    end
    upstream.raw = raw
    local listed = raw and cjson.decode(raw) or {}
    local former, peers = upstream.by_name, {}
    upstream.by_name = {}
    for index, each in ipairs(listed) do
        local name = each[1] .. ":" .. each[2]
        local peer = former[name]
            or { address = each[1], port = each[2], name = name, fails = 0, since = 0, down = 0, active = 0,
                 ewma = INITIAL_EWMA, touched = 0 }
        peer.index = index
        peers[index] = peer
        upstream.by_name[name] = peer
    end
    upstream.peers = peers
    upstream.count = #peers
    upstream.ring = nil
    if not upstream.turn or upstream.turn > #peers then
        upstream.turn = #peers > 0 and random(0, #peers - 1) or 0
    end
end

-- The upstream of an id with its peers as they are now; one that nobody described has the defaults.
function M.upstream(id)
    local upstream = known[id]
    if not upstream then
        upstream = { id = id, settings = structure.upstreams[id] or {}, by_name = {}, peers = {}, count = 0 }
        known[id] = upstream
    end
    local version = endpoints:get("version") or 0
    if upstream.version ~= version then
        read(upstream, version)
    end
    return upstream
end

function M.ring(upstream)
    if not upstream.ring then
        upstream.ring = hash.ring(upstream.peers, upstream.settings.subset)
    end
    return upstream.ring
end

-- Passive health: `max_fails` failures within `fail_timeout` seconds keep a peer out for as long.
function M.failed(upstream, peer)
    local settings = upstream.settings
    local most = settings.max_fails or 1
    if most == 0 then
        return
    end
    local seconds = settings.fail_timeout or 10
    local time = now()
    if time - peer.since > seconds then
        peer.since, peer.fails = time, 0
    end
    peer.fails = peer.fails + 1
    if peer.fails >= most then
        peer.down = time + seconds
    end
end

return M
