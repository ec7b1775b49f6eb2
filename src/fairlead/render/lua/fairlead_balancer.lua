-- Which endpoint a request goes to: called by NGINX once for each try.

local balancer = require("ngx.balancer")
local hash = require("fairlead_hash")
local state = require("fairlead_state")
local canary = require("fairlead_canary")

local set_peer, more_tries, last_failure = balancer.set_current_peer, balancer.set_more_tries, balancer.get_last_failure
local random, exp, max, huge = math.random, math.exp, math.max, math.huge
local now = ngx.now

local M = {}
local DECAY = 10

local function usable(peer, tried, time)
    return peer.down <= time and not (tried and tried[peer])
end

-- The next usable peer after `start`; where none is healthy any untried one will do, and then any at all.
local function scan(peers, count, start, tried)
    local time = now()
    for step = 0, count - 1 do
        local peer = peers[(start + step) % count + 1]
        if usable(peer, tried, time) then
            return peer
        end
    end
    for step = 0, count - 1 do
        local peer = peers[(start + step) % count + 1]
        if not (tried and tried[peer]) then
            return peer
        end
    end
    return peers[start % count + 1]
end

local pick = {}

function pick.round_robin(upstream, tried)
    local count = upstream.count
    local start = upstream.turn
    local peer = scan(upstream.peers, count, start, tried)
    upstream.turn = peer.index % count
    return peer
end

local function least(upstream, tried, cost)
    local time, best, lowest, ties = now(), nil, huge, 0
    for _, peer in ipairs(upstream.peers) do
        if usable(peer, tried, time) then
            local value = cost(peer)
            if value < lowest then
                best, lowest, ties = peer, value, 1
            elseif value == lowest then
                ties = ties + 1
                if random(ties) == 1 then
                    best = peer
                end
            end
        end
    end
    return best or scan(upstream.peers, upstream.count, random(0, upstream.count - 1), tried)
end

local function active(peer)
    return peer.active
end

function pick.least_conn(upstream, tried)
    return least(upstream, tried, active)
end

local function two(upstream, tried, cost)
    local count = upstream.count
    local first = scan(upstream.peers, count, random(0, count - 1), tried)
    local second = scan(upstream.peers, count, random(0, count - 1), tried)
    return cost(second) < cost(first) and second or first
end

function pick.random_two(upstream, tried)
    return two(upstream, tried, active)
end

local function score(peer)
    return peer.ewma * exp(-max(0, now() - peer.touched) / DECAY)
end

function pick.ewma(upstream, tried)
    return two(upstream, tried, score)
end

local function by_key(upstream, key, tried)
    local ring = state.ring(upstream)
    local at = hash.find(ring, key)
    local time = now()
    for step = 0, #ring - 1 do
        local peers = ring[(at - 1 + step) % #ring + 1].peers
        local start = #peers > 1 and random(0, #peers - 1) or 0
        for offset = 0, #peers - 1 do
            local peer = peers[(start + offset) % #peers + 1]
            if usable(peer, tried, time) then
                return peer
            end
        end
    end
    return scan(upstream.peers, upstream.count, 0, tried)
end

function pick.chash(upstream, tried)
    return by_key(upstream, hash.text(upstream.settings.hash_by or {}), tried)
end

pick.chashsubset = pick.chash

-- A cookie holds a random key (balanced) or the digest of a peer (persistent); `ctx.cookie` is what is to be set.
local function by_cookie(upstream, affinity, tried, ctx)
    local cookie = ngx.var["cookie_" .. affinity.name]
    if tried and affinity.change_on_failure then
        cookie = nil
    end
    if affinity.persistent then
        for _, peer in ipairs(upstream.peers) do
            if ngx.md5(peer.name) == cookie and not (tried and tried[peer]) then
                return peer
            end
        end
        local peer = pick.round_robin(upstream, tried)
        if not (tried and not affinity.change_on_failure) then
            ctx.cookie, ctx.affinity = ngx.md5(peer.name), affinity
        end
        return peer
    end
    if not cookie or not cookie:find("^%x+$") or #cookie ~= 32 then
        cookie = ngx.md5(ngx.var.request_id .. random())
        ctx.cookie, ctx.affinity = cookie, affinity
    end
    return by_key(upstream, cookie, tried)
end

local function choose(location, ctx)
    local id = location.upstream
    if location.canaries then
        id = canary.choose(location, ctx) or id
    end
    local upstream = state.upstream(id)
    if upstream.count == 0 and location.fallback then
        upstream = state.upstream(location.fallback)
    end
    return upstream
end

function M.balance()
    local ctx = ngx.ctx
    local upstream, tried = ctx.upstream, nil
    if upstream then
        last_failure()
        state.failed(upstream, ctx.peer)
        tried = ctx.tried or {}
        tried[ctx.peer], ctx.tried = true, tried
        ctx.peer.active = ctx.peer.active - 1
    else
        local location = state.locations[ngx.var.fairlead_location]
        if not location or not location.upstream then
            return ngx.exit(503)
        end
        upstream = choose(location, ctx)
        ctx.upstream = upstream
        if upstream.count == 0 then
            ctx.upstream = nil
            return ngx.exit(503)
        end
        local tries = location.tries or 1
        if tries > 1 or tries == 0 then
            more_tries(tries == 0 and upstream.count or tries - 1)
        end
    end
    local settings = upstream.settings
    local peer
    if upstream.count == 0 then
        peer = ctx.peer
    elseif settings.affinity then
        peer = by_cookie(upstream, settings.affinity, tried, ctx)
    else
        peer = (pick[settings.balance] or pick.round_robin)(upstream, tried)
    end
    ctx.peer = peer
    peer.active = peer.active + 1
    local ok, problem = set_peer(peer.address, peer.port)
    if not ok then
        ngx.log(ngx.ERR, "peer ", peer.name, ": ", problem)
        return ngx.exit(500)
    end
end

-- The end of a request that was given a peer.
function M.done(ctx)
    local peer, upstream = ctx.peer, ctx.upstream
    peer.active = peer.active - 1
    local status = ngx.status
    if (status == 502 or status == 504) and not ngx.var.upstream_header_time:find("%d") then
        state.failed(upstream, peer)
    end
    if upstream.settings.balance == "ewma" then
        local seconds = tonumber(ngx.var.upstream_response_time:match("([%d.]+)$"))
        if seconds then
            local time = now()
            local weight = exp(-max(0, time - peer.touched) / DECAY)
            peer.ewma, peer.touched = peer.ewma * weight + seconds * (1 - weight), time
        end
    end
end

return M
