-- Whether a request goes to a canary: header, then cookie, then weight.

local state = require("fairlead_state")

local random = math.random
local find = ngx.re.find

local M = {}

local function header(name)
    local value = ngx.req.get_headers(0)[name]
    if type(value) == "table" then
        value = value[1]
    end
    return value
end

-- A client that a canary or its main upstream gave a cookie stays where it is, unless header or cookie say otherwise.
local function sticks(rule, location, cookie_of)
    local main = state.upstream(location.upstream)
    local canary = state.upstream(rule.upstream)
    local affinity = canary.affinity or main.affinity
    if not affinity or affinity.legacy then
        return nil
    end
    if cookie_of(canary, affinity) then
        return true
    end
    if cookie_of(main, affinity) then
        return false
    end
end

local function claims(rule, location, cookie_of)
    if rule.header then
        local value = header(rule.header)
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
    local stays = sticks(rule, location, cookie_of)
    if stays ~= nil then
        return stays
    end
    return random() * rule.total < rule.weight
end

-- The rule that claims the request, or nil.
function M.choose(location, cookie_of)
    for _, rule in ipairs(location.canaries) do
        if claims(rule, location, cookie_of) then
            return rule
        end
    end
end

return M
