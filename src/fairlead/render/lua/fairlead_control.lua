-- The control socket: endpoints and certificates come in as JSON and hold at once for every worker.

local cjson = require("cjson.safe")
local state = require("fairlead_state")

local endpoints, certificates = ngx.shared.fairlead_endpoints, ngx.shared.fairlead_certificates

local M = {}

local function refuse(problem)
    ngx.status = 400
    ngx.say(problem)
    ngx.exit(400)
end

local function body()
    ngx.req.read_body()
    local data = ngx.req.get_body_data()
    if not data then
        local name = ngx.req.get_body_file()
        if name then
            local file = assert(io.open(name, "rb"))
            data = file:read("*a")
            file:close()
        end
    end
    local decoded, problem = cjson.decode(data or "")
    if type(decoded) ~= "table" then
        refuse("no JSON object: " .. (problem or type(decoded)))
    end
    for _, field in ipairs({ "set", "names", "drop", "drop_names" }) do
        if decoded[field] ~= nil and type(decoded[field]) ~= "table" then
            refuse(field .. " is no table")
        end
    end
    return decoded
end

local function put(dict, key, value)
    local ok, problem = dict:safe_set(key, value)
    if not ok then
        ngx.status = 507
        ngx.say("shared memory is full: ", problem)
        ngx.exit(507)
    end
end

local function only(dict, prefix, kept)
    for _, key in ipairs(dict:get_keys(0)) do
        if key:sub(1, #prefix) == prefix and not kept[key:sub(#prefix + 1)] then
            dict:delete(key)
        end
    end
end

function M.generation()
    ngx.print(state.generation)
end

-- {"full": bool, "set": {id: [[address, port], ...]}, "drop": [id, ...]}; `full` forgets everything not in `set`.
function M.endpoints()
    local told = body()
    for id, peers in pairs(told.set or {}) do
        put(endpoints, id, cjson.encode(peers))
    end
    for _, id in ipairs(told.drop or {}) do
        endpoints:delete(id)
    end
    if told.full then
        local kept = { version = true }
        for id in pairs(told.set or {}) do
            kept[id] = true
        end
        only(endpoints, "", kept)
    end
    endpoints:incr("version", 1, 0)
    state.look()
    ngx.say("ok")
end

-- {"full": bool, "set": {id: [chain, key]}, "drop": [id], "names": {name: id}, "drop_names": [name], "default": id}
function M.certificates()
    local told = body()
    for id, pair in pairs(told.set or {}) do
        put(certificates, "chain:" .. id, pair[1])
        put(certificates, "key:" .. id, pair[2])
        certificates:incr("version:" .. id, 1, 0)
    end
    for name, id in pairs(told.names or {}) do
        put(certificates, "name:" .. name, id)
    end
    for _, name in ipairs(told.drop_names or {}) do
        certificates:delete("name:" .. name)
    end
    for _, id in ipairs(told.drop or {}) do
        certificates:delete("chain:" .. id)
        certificates:delete("key:" .. id)
        certificates:delete("version:" .. id)
    end
    if told.default and told.default ~= cjson.null then
        put(certificates, "default", told.default)
    end
    if told.full then
        only(certificates, "name:", told.names or {})
        for _, prefix in ipairs({ "chain:", "key:", "version:" }) do
            only(certificates, prefix, told.set or {})
        end
    end
    ngx.say("ok")
end

-- {"set": {id: answer of OCSP in base64}}; all others are forgotten.
function M.staples()
    local told = body()
    for id, answer in pairs(told.set or {}) do
        put(certificates, "staple:" .. id, ngx.decode_base64(answer))
    end
    only(certificates, "staple:", told.set or {})
    ngx.say("ok")
end

return M
