-- What every worker knows: the structure of this configuration, and by shared memory the endpoints of now.
--
-- The structure comes from a file written together with the configuration; the master reads it once. Endpoints are told
-- over the control socket; a worker compares one version number, at most once a millisecond, and reads only what it
-- needs and lacks.

local cjson = require("cjson.safe")
local hash = require("fairlead_hash")

local endpoints = ngx.shared.fairlead_endpoints
local now, md5, random, tonumber = ngx.now, ngx.md5, math.random, tonumber

local M = { generation = "", locations = {} }

local structure = { upstreams = {} }
local known = {}
local version, looked = -1, 0

function M.load(path)
    local file = assert(io.open(path, "rb"))
    local text = file:read("*a")
    file:close()
    local found = assert(cjson.decode(text))
    structure = found
    M.generation = found.generation
    for id, location in pairs(found.locations) do
        location.id = id
        M.locations[id] = location
    end
end

local function peer_of(upstream, address, port)
    return {
        upstream = upstream, address = address, port = tonumber(port), name = address .. ":" .. port,
        fails = 0, since = 0, down = 0, active = 0, ewma = 0, touched = 0,
    }
end

local function read(upstream)
    local raw = endpoints:get(upstream.id)
    upstream.version = version
    if raw == upstream.raw then
        return
    end
    upstream.raw = raw
    local listed = raw and cjson.decode(raw) or {}
    local former, peers, by_name = upstream.by_name, {}, {}
    for index, each in ipairs(listed) do
        local peer = former[each[1] .. ":" .. each[2]] or peer_of(upstream, each[1], each[2])
        peer.index = index
        peers[index] = peer
        by_name[peer.name] = peer
    end
    upstream.peers, upstream.by_name, upstream.count = peers, by_name, #peers
    upstream.ring, upstream.by_digest = nil, nil
    if not upstream.turn or upstream.turn >= #peers then
        upstream.turn = #peers > 0 and random(0, #peers - 1) or 0
    end
end

local BALANCES = {
    round_robin = 1, least_conn = 1, ewma = 1, random_two = 1, chash = 1, chashsubset = 1,
}

local function new(id)
    local settings = structure.upstreams[id] or {}
    local balance = BALANCES[settings.balance] and settings.balance or "round_robin"
    local most = settings.max_connections or 0
    return {
        id = id, settings = settings, mark = md5(id), affinity = settings.affinity, balance = balance, most = most,
        counting = balance == "least_conn" or balance == "random_two" or most > 0,
        by_name = {}, peers = {}, count = 0,
    }
end

-- The upstream of an id with its peers as they are now; one that nobody described has the defaults.
function M.upstream(id)
    local time = now()
    if time ~= looked then
        looked, version = time, endpoints:get("version") or 0
    end
    local upstream = known[id]
    if not upstream then
        upstream = new(id)
        known[id] = upstream
    end
    if upstream.version ~= version then
        read(upstream)
    end
    return upstream
end

-- Has the next request see what has just been told.
function M.look()
    looked = 0
end

function M.ring(upstream)
    if not upstream.ring then
        upstream.ring = hash.ring(upstream.peers, upstream.settings.subset)
    end
    return upstream.ring
end

-- The peers by the digests that cookies name them with.
function M.digests(upstream)
    if not upstream.by_digest then
        local found = {}
        for _, peer in ipairs(upstream.peers) do
            found[md5(peer.name)] = peer
        end
        upstream.by_digest = found
    end
    return upstream.by_digest
end

-- Passive health: `max_fails` failures within `fail_timeout` seconds keep a peer out for as long.
function M.failed(upstream, peer)
    local settings = upstream.settings
    local most = settings.max_fails or 1
    if most == 0 or upstream.count < 2 then
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

-- A peer that answered after it was kept out is as good as new.
function M.recovered(_, peer)
    if peer.down <= now() then
        peer.down, peer.fails, peer.since = 0, 0, 0
    end
end

return M
