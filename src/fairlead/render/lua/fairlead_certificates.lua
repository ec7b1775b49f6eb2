-- Which certificate a client sees: by the name it asks for, out of shared memory, parsed once a worker and version.

local ocsp = require("ngx.ocsp")
local ssl = require("ngx.ssl")

local certificates = ngx.shared.fairlead_certificates
local parsed = {}

local M = {}

local function id_of(name)
    local id = certificates:get("name:" .. name)
    if id then
        return id
    end
    local dot = name:find(".", 1, true)
    return dot and certificates:get("name:*" .. name:sub(dot)) or nil
end

local function pair_of(id)
    local version = certificates:get("version:" .. id)
    if not version then
        return nil
    end
    local known = parsed[id]
    if known and known.version == version then
        return known
    end
    local chain, problem = ssl.parse_pem_cert(certificates:get("chain:" .. id) or "")
    if not chain then
        return nil, problem
    end
    local key
    key, problem = ssl.parse_pem_priv_key(certificates:get("key:" .. id) or "")
    if not key then
        return nil, problem
    end
    known = { version = version, chain = chain, key = key }
    parsed[id] = known
    return known
end

-- Sets the certificate of this handshake; without one of its own a name has the default certificate.
function M.set()
    local name = ssl.server_name()
    local id = name and id_of(name:lower()) or certificates:get("default")
    if not id then
        return
    end
    local pair, problem = pair_of(id)
    if not pair then
        if problem then
            ngx.log(ngx.ERR, "certificate: ", problem)
        end
        return
    end
    ssl.clear_certs()
    assert(ssl.set_cert(pair.chain))
    assert(ssl.set_priv_key(pair.key))
    local staple = certificates:get("staple:" .. id)
    if staple then
        ocsp.set_ocsp_status_resp(staple)
    end
end

return M
