-- Which upstream a request is for, and which of its endpoints each try goes to.
--
-- `begin` runs once, before anything else is decided: an upstream without endpoints is a 503 then. `balance` is called
-- by NGINX for each try, `done` when the request has ended. What a request holds is in its ngx.ctx. Plain locations
-- (`render/nginx_plain.py`) do without `begin` and ctx, for which a request would pay as much as for its balancing.

local ffi = require("ffi")
local base = require("resty.core.base")
local balancer = require("ngx.balancer")
local hash = require("fairlead_hash")
local state = require("fairlead_state")
local canary = require("fairlead_canary")

local set_peer, more_tries = balancer.set_current_peer, balancer.set_more_tries
local last_failure = balancer.get_last_failure
local random, exp, max, huge = math.random, math.exp, math.max, math.huge
local ngx, now, md5 = ngx, ngx.now, ngx.md5
local locations = state.locations

local C, get_request, cast, ffi_string = ffi.C, base.get_request, ffi.cast, ffi.string
local word, problem = ffi.typeof("uintptr_t"), base.get_errmsg_ptr()
local buffer, value, length = ffi.new("char[64]"), ffi.new("unsigned char *[1]"), ffi.new("size_t[1]")
local LOCATION = "fairlead_location"

local M = {}
local DECAY = 10

-- Peers with requests under way, where the balance counts them. A request that NGINX sends on to another location loses
-- its ctx, so what it holds is found again by a number in a variable.
local held, holding, number = {}, 0, 0

local function hold(peer)
    number = number + 1
    local key = tostring(number)
    held[key] = peer
    holding = holding + 1
    peer.active = peer.active + 1
    ngx.var.fairlead_held = key
end

local function release()
    local key = ngx.var.fairlead_held
    local peer = held[key]
    if peer then
        held[key] = nil
        holding = holding - 1
        peer.active = peer.active - 1
    end
end

local function usable(peer, tried, time, most)
    return peer.down <= time and not (tried and tried[peer]) and (most == 0 or peer.active < most)
end

-- The next usable peer after `start`; where none is usable any untried one will do, and then any at all.
local function scan(upstream, start, tried)
    local peers, count, most = upstream.peers, upstream.count, upstream.most
    local peer = peers[start % count + 1]
    if not tried and peer.down == 0 and most == 0 then
        return peer
    end
    local time = now()
    for step = 0, count - 1 do
        peer = peers[(start + step) % count + 1]
        if usable(peer, tried, time, most) then
            return peer
        end
    end
    for step = 0, count - 1 do
        peer = peers[(start + step) % count + 1]
        if not (tried and tried[peer]) then
            return peer
        end
    end
    return peers[start % count + 1]
end

local pick = {}

function pick.round_robin(upstream, tried)
    local peer = scan(upstream, upstream.turn, tried)
    upstream.turn = peer.index % upstream.count
    return peer
end

function pick.least_conn(upstream, tried)
    local time, best, lowest, ties = now(), nil, huge, 0
    local peers, most = upstream.peers, upstream.most
    for index = 1, upstream.count do
        local peer = peers[index]
        if usable(peer, tried, time, most) then
            local value = peer.active
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
    return best or scan(upstream, random(0, upstream.count - 1), tried)
end

-- Two different peers where there are two, the better of them.
local function two(upstream, tried, cost)
    local count = upstream.count
    local first = scan(upstream, random(0, count - 1), tried)
    if count == 1 then
        return first
    end
    local second = scan(upstream, first.index - 1 + random(1, count - 1), tried)
    return cost(second) < cost(first) and second or first
end

local function active(peer)
    return peer.active
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
    local time, most = now(), upstream.most
    for step = 0, #ring - 1 do
        local peers = ring[(at - 1 + step) % #ring + 1].peers
        local start = #peers > 1 and random(0, #peers - 1) or 0
        for offset = 0, #peers - 1 do
            local peer = peers[(start + offset) % #peers + 1]
            if usable(peer, tried, time, most) then
                return peer
            end
        end
    end
    return scan(upstream, 0, tried)
end

function pick.chash(upstream, tried)
    return by_key(upstream, hash.text(upstream.settings.hash_by or {}), tried)
end

pick.chashsubset = pick.chash

-- A cookie holds a random key (balanced) or the digest of a peer (persistent), and the mark of the upstream that gave it,
-- so that a canary's clients are known. `ctx.cookie` is what is to be set.
local function cookie_of(upstream, affinity)
    local value = ngx.var["cookie_" .. affinity.name]
    if not value or #value ~= 65 then
        return nil
    end
    local key, mark = value:match("^(%x+)|(%x+)$")
    return mark == upstream.mark and key or nil
end

local function give(ctx, upstream, affinity, key)
    ctx.cookie, ctx.affinity = key .. "|" .. upstream.mark, affinity
end

local function by_cookie(upstream, affinity, tried, ctx)
    local key = ctx.key or cookie_of(upstream, affinity)
    if tried and affinity.change_on_failure then
        key = nil
    end
    if affinity.persistent then
        local peer = key and state.digests(upstream)[key]
        if peer and not (tried and tried[peer]) and peer.down <= now() then
            return peer
        end
        peer = pick.round_robin(upstream, tried)
        if not (key and tried) then
            give(ctx, upstream, affinity, md5(peer.name))
        end
        return peer
    end
    if not key then
        key = md5(ngx.var.request_id .. random())
        give(ctx, upstream, affinity, key)
    end
    ctx.key = key
    return by_key(upstream, key, tried)
end

local function prepare(ctx, location, id, other)
    local upstream = state.upstream(id)
    if upstream.count == 0 and other then
        upstream = state.upstream(other)
    end
    ctx.location, ctx.upstream, ctx.peer = location, upstream, nil
    if upstream.count == 0 then
        return "503"
    end
end

-- Decides the upstream of a request to the location; answers the status that refuses it, or nothing.
function M.begin()
    local location = locations[ngx.var.fairlead_location]
    local id, ctx = location.upstream, ngx.ctx
    if location.canaries then
        local claimed = canary.choose(location, cookie_of)
        if claimed and state.upstream(claimed.upstream).count > 0 then
            id, ctx.canary = claimed.upstream, true
            ngx.var.proxy_alternative_upstream_name = claimed.name
            ctx.kept = state.upstream(location.upstream).affinity
        end
    end
    return prepare(ctx, location, id, location.fallback)
end

-- The same for an error of the location that another service is to explain.
function M.explain()
    if holding > 0 then
        release()
    end
    local location = locations[ngx.var.fairlead_location]
    return prepare(ngx.ctx, location, location.errors)
end

local function first_try(upstream, ctx)
    local tries = ctx.location.tries
    if tries then
        local others = upstream.count - 1
        if tries > 0 and tries - 1 < others then
            others = tries - 1
        end
        if others > 0 then
            more_tries(others)
        end
    end
end

local function next_try(upstream, ctx)
    last_failure()
    state.failed(upstream, ctx.peer)
    local tried = ctx.tried or {}
    tried[ctx.peer], ctx.tried = true, tried
    if holding > 0 then
        release()
    end
    return tried
end

-- The location that a request is in, or nil.
local function location_of(r)
    if C.ngx_http_lua_ffi_var_get(r, LOCATION, #LOCATION, buffer, 0, value, length, problem) == 0 then
        return locations[ffi_string(value[0], length[0])]
    end
end

M.location_of = location_of

-- The peers that requests to plain locations were sent to last, and those that failed them before, by the addresses of
-- the requests in memory.
local last, failed = {}, {}

local function others_failed(upstream, key)
    if not last_failure() then
        failed[key] = nil -- NGINX began anew, on another location's order
        return nil
    end
    local peer, tried = last[key], failed[key] or {}
    state.failed(upstream, peer)
    tried[peer], failed[key] = true, tried
    return tried
end

local function balance_plain(r, location)
    local upstream, key = state.upstream(location.upstream), tonumber(cast(word, r))
    local peer, tried = last[key], nil
    if peer then
        tried = others_failed(upstream, key)
    end
    local count = upstream.count
    if count > 0 then
        local others = count - 1
        local tries = location.tries
        if not tried and tries and others > 0 then
            if tries > 0 and tries - 1 < others then
                others = tries - 1
            end
            if others > 0 then
                C.ngx_http_lua_ffi_balancer_set_more_tries(r, others, problem)
            end
        end
        peer = scan(upstream, upstream.turn, tried)
        upstream.turn = peer.index % count
    elseif not tried then
        last[key] = nil
        set_peer(M.refuser)
        return
    end
    last[key] = peer -- that of before, where the endpoints went away between two tries
    local address = peer.address
    if C.ngx_http_lua_ffi_balancer_set_current_peer(r, address, #address, peer.port, problem) ~= 0 then
        ngx.log(ngx.ERR, "peer ", peer.name, ": ", ffi_string(problem[0]))
        return ngx.exit(ngx.ERROR)
    end
end

function M.balance()
    local r = get_request()
    local location = location_of(r)
    if location and location.plain then
        return balance_plain(r, location)
    end
    local ctx = ngx.ctx
    local upstream, tried = ctx.upstream, nil
    if ctx.peer then
        tried = next_try(upstream, ctx)
    else
        first_try(upstream, ctx)
    end
    local affinity, peer = upstream.affinity or ctx.kept, nil
    if upstream.count == 0 then
        peer = ctx.peer -- the endpoints went away between two tries
    elseif affinity then
        peer = by_cookie(upstream, affinity, tried, ctx)
    else
        peer = pick[upstream.balance](upstream, tried)
    end
    if not peer then
        return ngx.exit(ngx.ERROR)
    end
    if upstream.most > 0 and peer.active >= upstream.most then
        ctx.peer = nil
        set_peer(M.refuser) -- every endpoint has as many connections as it may
        return
    end
    ctx.peer = peer
    if upstream.counting then
        hold(peer)
    end
    local ok, problem = set_peer(peer.address, peer.port)
    if not ok then
        ngx.log(ngx.ERR, "peer ", peer.name, ": ", problem)
        return ngx.exit(ngx.ERROR)
    end
end

-- The peer that a request to a plain location was sent to last, which is forgotten.
function M.take(r)
    local key = tonumber(cast(word, r))
    local peer = last[key]
    if peer then
        last[key], failed[key] = nil, nil
    end
    return peer
end

-- The end of a request that was given a peer: `status` is the answer's.
function M.done(peer, status)
    local upstream = peer.upstream
    if status == 502 or status == 504 then
        local waited = ngx.var.upstream_header_time
        if not (waited and waited:find("%d$")) then
            state.failed(upstream, peer)
        end
    elseif peer.fails > 0 and status < 500 then
        state.recovered(upstream, peer)
    end
    if upstream.balance == "ewma" then
        local seconds = tonumber((ngx.var.upstream_response_time or ""):match("([%d.]+)$"))
        if seconds then
            local time = now()
            local weight = exp(-max(0, time - peer.touched) / DECAY)
            peer.ewma, peer.touched = peer.ewma * weight + seconds * (1 - weight), time
        end
    end
end

-- Lets go of what a request holds that has ended.
function M.forget()
    if holding > 0 then
        release()
    end
end

return M
