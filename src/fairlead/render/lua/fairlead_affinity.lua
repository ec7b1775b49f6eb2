-- The cookie by which a client keeps its endpoint.

local M = {}

local function drops_none(agent)
    return agent:find("CPU iPhone OS 12") or agent:find("iPad; CPU OS 12")
        or (agent:find("Macintosh; Intel Mac OS X 10_14") and agent:find("Safari") and not agent:find("Chrome"))
        or agent:find("Chrome/5%d%.") or agent:find("Chrome/6[0-6]%.")
end

-- Sets the cookie that the balancer decided on, if it did.
function M.set()
    local ctx = ngx.ctx
    local affinity = ctx.affinity
    if not affinity then
        return
    end
    local parts = { affinity.name .. "=" .. ctx.cookie, "Path=" .. (affinity.path or ctx.location.path) }
    if affinity.expires then
        parts[#parts + 1] = "Expires=" .. ngx.cookie_time(ngx.time() + affinity.expires)
    end
    if affinity.max_age then
        parts[#parts + 1] = "Max-Age=" .. affinity.max_age
    end
    if affinity.domain then
        parts[#parts + 1] = "Domain=" .. affinity.domain
    end
    local same = affinity.same_site
    if same == "None" and affinity.conditional and drops_none(ngx.var.http_user_agent or "") then
        same = nil
    end
    if same then
        parts[#parts + 1] = "SameSite=" .. same
    end
    local secure = affinity.secure
    if secure == nil then
        secure = ngx.var.https == "on"
    end
    if secure then
        parts[#parts + 1] = "Secure"
    end
    parts[#parts + 1] = "HttpOnly"
    local cookie, set = table.concat(parts, "; "), ngx.header["Set-Cookie"]
    if type(set) == "table" then
        set[#set + 1] = cookie
        ngx.header["Set-Cookie"] = set
    elseif set then
        ngx.header["Set-Cookie"] = { set, cookie }
    else
        ngx.header["Set-Cookie"] = cookie
    end
end

return M
