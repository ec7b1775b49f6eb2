-- HTTP digest access (RFC 7616 with MD5 and qop=auth, as browsers and curl speak it): NGINX has none of its own.

local state = require("fairlead_state")

local M = {}
local LIFETIME = 300
local secret = ngx.md5(tostring(math.random()) .. ngx.now())

function M.seed(text)
    secret = text
end

local function nonce_at(time)
    return string.format("%x", time) .. ngx.md5(time .. ":" .. secret)
end

local function challenge(realm, stale)
    ngx.header["WWW-Authenticate"] = string.format(
        'Digest realm="%s", qop="auth", algorithm=MD5, nonce="%s"%s',
        (realm:gsub('["\\]', "\\%0")), nonce_at(ngx.time()), stale and ", stale=true" or ""
    )
    return ngx.exit(401)
end

local function fields_of(header)
    local found = {}
    for key, quoted in header:gmatch('(%w+)="([^"]*)"') do
        found[key] = quoted
    end
    for key, bare in header:gmatch("(%w+)=([^\",%s]+)") do
        found[key] = found[key] or bare
    end
    return found
end

-- Lets a request pass whose Authorization is right, and challenges every other.
function M.check()
    local digest = state.locations[ngx.var.fairlead_location].digest
    local header = ngx.var.http_authorization
    if not header or not header:find("^[Dd]igest ") then
        return challenge(digest.realm)
    end
    local given = fields_of(header)
    local hash = given.username and digest.users[given.username]
    if not hash or not given.nonce or not given.uri or not given.response or given.uri ~= ngx.var.request_uri then
        return challenge(digest.realm)
    end
    local time = tonumber(given.nonce:sub(1, -33), 16)
    if not time or given.nonce ~= nonce_at(time) then
        return challenge(digest.realm)
    end
    if ngx.time() - time > LIFETIME then
        return challenge(digest.realm, true)
    end
    local second = ngx.md5(ngx.req.get_method() .. ":" .. given.uri)
    local wanted
    if given.qop == "auth" then
        wanted = ngx.md5(table.concat({ hash, given.nonce, given.nc or "", given.cnonce or "", "auth", second }, ":"))
    else
        wanted = ngx.md5(table.concat({ hash, given.nonce, second }, ":"))
    end
    if wanted ~= given.response then
        return challenge(digest.realm)
    end
    ngx.req.clear_header("Authorization")
    return ngx.exit(ngx.OK) -- which is what `satisfy any` looks for
end

return M
