-- What requests were: counted by each worker by itself, added up in shared memory once a second, told as Prometheus text.
-- Names and buckets are those of ingress-nginx (reference: metrics of the ingress controller).

local ffi = require("ffi")
local base = require("resty.core.base")
local balancer = require("fairlead_balancer")
local state = require("fairlead_state")

local shared = ngx.shared.fairlead_metrics
local tonumber, ipairs = tonumber, ipairs

local M = {}

local SECONDS = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }
local BYTES = { 10, 100, 1000, 10000, 100000, 1000000, 10000000 }
local HISTOGRAMS = {
    { "request_duration_seconds", SECONDS, "The request processing time in seconds" },
    { "response_duration_seconds", SECONDS, "The time spent on receiving the response from the upstream server" },
    { "request_size", BYTES, "The request length (including request line, header, and request body)" },
    { "response_size", BYTES, "The response length (including request line, header, and request body)" },
}

-- Which histogram is told, and under which other name: an older one that dashboards still ask for.
local TOLD = { { 1 }, { 2 }, { 3 }, { 4 }, { 4, "bytes_sent" } }

local done, forget, take, location_of = balancer.done, balancer.forget, balancer.take, balancer.location_of

-- The request is asked through FFI at once, without the functions around it and without loops: so the whole of `log`
-- becomes machine code, which is what a request costs here.
local C, get_request, ffi_string = ffi.C, base.get_request, ffi.string
local buffer, value, length = ffi.new("char[64]"), ffi.new("unsigned char *[1]"), ffi.new("size_t[1]")
local problem = base.get_errmsg_ptr()
local METHODS = {
    [0x2] = "GET", [0x4] = "HEAD", [0x8] = "POST", [0x10] = "PUT", [0x20] = "DELETE", [0x200] = "OPTIONS",
    [0x4000] = "PATCH", [0x8000] = "TRACE",
}

local function number_of(r, name)
    if C.ngx_http_lua_ffi_var_get(r, name, #name, buffer, 0, value, length, problem) ~= 0 then
        return nil
    end
    return tonumber(ffi_string(value[0], length[0]))
end

-- What this worker counted since it last told: entries by location, method, and status with whether it was a canary's.
local dirty = {}

local function fresh(location, method, status, canary)
    local entry = {
        prefix = location.id .. " " .. method .. " " .. status .. " " .. (canary and 1 or 0) .. " ", count = 0,
    }
    for number, each in ipairs(HISTOGRAMS) do
        local buckets = { sum = 0 }
        for index = 1, #each[2] + 1 do
            buckets[index] = 0
        end
        entry[number] = buckets
    end
    return entry
end

local function observe_seconds(buckets, seconds)
    local index
    if seconds <= 0.005 then
        index = 1
    elseif seconds <= 0.1 then
        index = seconds <= 0.01 and 2 or seconds <= 0.025 and 3 or seconds <= 0.05 and 4 or 5
    elseif seconds <= 1 then
        index = seconds <= 0.25 and 6 or seconds <= 0.5 and 7 or 8
    else
        index = seconds <= 2.5 and 9 or seconds <= 5 and 10 or seconds <= 10 and 11 or 12
    end
    buckets[index] = buckets[index] + 1
    buckets.sum = buckets.sum + seconds
end

local function observe_bytes(buckets, bytes)
    local index
    if bytes <= 1000 then
        index = bytes <= 10 and 1 or bytes <= 100 and 2 or 3
    else
        index = bytes <= 1e4 and 4 or bytes <= 1e5 and 5 or bytes <= 1e6 and 6 or bytes <= 1e7 and 7 or 8
    end
    buckets[index] = buckets[index] + 1
    buckets.sum = buckets.sum + bytes
end

local function new_entry(location, id, status, canary)
    local counted = location.counted
    if not counted then
        counted = { {}, {} }
        location.counted = counted
    end
    local entry = fresh(location, METHODS[id] or "OTHER", status, canary)
    counted[canary and 2 or 1][id * 1000 + status] = entry
    return entry
end

local function entry_of(location, id, status, canary)
    local counted = location.counted
    local entry = counted and counted[canary and 2 or 1][id * 1000 + status] or new_entry(location, id, status, canary)
    if entry.count == 0 then
        dirty[#dirty + 1] = entry
    end
    return entry
end

-- Counts the request that just ended, and settles its peer.
function M.log()
    local r = get_request()
    local status, peer, canary = C.ngx_http_lua_ffi_get_resp_status(r), take(r), nil
    local location = location_of(r)
    forget()
    if not (location and location.plain) then
        local ctx = ngx.ctx
        location, peer, canary = ctx.location or location, ctx.peer or peer, ctx.canary
    end
    if peer then
        done(peer, status)
    end
    if not location then
        return
    end
    local id = C.ngx_http_lua_ffi_req_get_method(r)
    local entry = entry_of(location, METHODS[id] and id or 0, status, canary)
    entry.count = entry.count + 1
    local took = C.ngx_http_lua_ffi_now() - C.ngx_http_lua_ffi_req_start_time(r)
    observe_seconds(entry[1], took > 0 and took or 0)
    if peer then
        -- What ended within the first bucket did so for the upstream too, without asking NGINX to spell it.
        observe_seconds(entry[2], took <= 0.005 and took or number_of(r, "upstream_response_time") or took)
    end
    observe_bytes(entry[3], number_of(r, "request_length") or 0)
    observe_bytes(entry[4], number_of(r, "bytes_sent") or 0)
end

-- Adds what this worker counted to what all did.
function M.flush()
    local entries = dirty
    dirty = {}
    for _, entry in ipairs(entries) do
        local prefix = entry.prefix
        shared:incr(prefix .. "n", entry.count, 0)
        entry.count = 0
        for number, each in ipairs(HISTOGRAMS) do
            local buckets = entry[number]
            for index = 1, #each[2] + 1 do
                if buckets[index] > 0 then
                    shared:incr(prefix .. number .. "b" .. index, buckets[index], 0)
                    buckets[index] = 0
                end
            end
            if buckets.sum > 0 then
                shared:incr(prefix .. number .. "s", buckets.sum, 0)
                buckets.sum = 0
            end
        end
    end
end

function M.start()
    ngx.timer.every(1, M.flush)
end

local function escaped(text)
    return (tostring(text or ""):gsub("[\\\"\n]", { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }))
end

local function labels(id, method, status, canary)
    local location = state.locations[id]
    if not location then
        return nil
    end
    return string.format(
        'host="%s",path="%s",namespace="%s",ingress="%s",service="%s",method="%s",status="%s",canary="%s"',
        escaped(location.host), escaped(location.path), escaped(location.namespace), escaped(location.ingress),
        escaped(location.service), method, status, canary == "1" and escaped(location.ingress) or ""
    )
end

-- Writes the page; series of locations that are gone are left out and forgotten.
function M.page()
    M.flush()
    local series, gone = {}, {}
    for number, key in ipairs(shared:get_keys(0)) do
        if number % 1000 == 0 then
            ngx.sleep(0) -- requests have their turn
        end
        local id, method, status, canary, what = key:match("^(%S+) (%S+) (%S+) (%S+) (%S+)$")
        if id then
            local named = labels(id, method, status, canary)
            if named then
                local entry = series[named] or {}
                series[named] = entry
                entry[what] = shared:get(key)
            else
                gone[#gone + 1] = key
            end
        end
    end
    for _, key in ipairs(gone) do
        shared:delete(key)
    end
    local out = {
        "# HELP nginx_ingress_controller_requests The total number of client requests",
        "# TYPE nginx_ingress_controller_requests counter",
    }
    local function add(line) out[#out + 1] = line end
    for named, entry in pairs(series) do
        add("nginx_ingress_controller_requests{" .. named .. "} " .. (entry.n or 0))
    end
    for _, each in ipairs(TOLD) do
        local number, bounds = each[1], HISTOGRAMS[each[1]][2]
        local name = "nginx_ingress_controller_" .. (each[2] or HISTOGRAMS[number][1])
        ngx.sleep(0)
        add("# HELP " .. name .. " " .. HISTOGRAMS[number][3])
        add("# TYPE " .. name .. " histogram")
        for named, entry in pairs(series) do
            local sum = 0
            for index = 1, #bounds + 1 do
                sum = sum + (entry[number .. "b" .. index] or 0)
                add(name .. "_bucket{" .. named .. ',le="' .. (bounds[index] or "+Inf") .. '"} ' .. sum)
            end
            add(name .. "_sum{" .. named .. "} " .. (entry[number .. "s"] or 0))
            add(name .. "_count{" .. named .. "} " .. sum)
        end
    end
    local process = "nginx_ingress_controller_nginx_process_connections"
    add("# HELP " .. process .. " current number of client connections with state {active, reading, writing, waiting}")
    add("# TYPE " .. process .. " gauge")
    for _, name in ipairs({ "active", "reading", "writing", "waiting" }) do
        add(process .. '{state="' .. name .. '"} ' .. ngx.var["connections_" .. name])
    end
    ngx.header["Content-Type"] = "text/plain; version=0.0.4"
    ngx.print(table.concat(out, "\n"), "\n")
end

return M
