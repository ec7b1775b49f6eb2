-- Whether a request goes to a canary: header, then cookie, then weight.

local random = math.random
local find = ngx.re.find

local M = {}

local function claims(rule)
    if rule.header then
        local value = ngx.req.get_headers()[rule.header]
        if type(value) == "table" then
            value = value[1]
        end
        if value then
            if rule.value then
                if value == rule.value then
                    return true
                end
            elseif rule.pattern then
                if find(value, rule.pattern, "jo") then
                    return true
                end
            elseif value == "always" then
                return true
            elseif value == "never" then
                return false
            end
        end
    end
    if rule.cookie then
        local value = ngx.var["cookie_" .. rule.cookie]
        if value == "always" then
            return true
        elseif value == "never" then
            return false
        end
    end
    return random() * rule.total < rule.weight
end

-- The id of the upstream that claims the request, or nil.
function M.choose(location, ctx)
    for _, rule in ipairs(location.canaries) do
        if claims(rule) then
            ctx.canary = true
            return rule.upstream
        end
    end
end

return M
