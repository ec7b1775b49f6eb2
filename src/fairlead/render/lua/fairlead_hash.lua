-- Consistent hashing: a ring of points, 160 for each member, as ketama has it. Peers that go move only their own keys.

local crc32 = ngx.crc32_long
local floor, concat = math.floor, table.concat

local M = {}
local POINTS = 160

-- A ring over the peers, or over groups of `size` of them (subset); the peers of a group share its keys.
function M.ring(peers, size)
    local members = {}
    if size then
        for index, peer in ipairs(peers) do
            local number = floor((index - 1) / size) + 1
            members[number] = members[number] or { name = "subset-" .. number, peers = {} }
            table.insert(members[number].peers, peer)
        end
    else
        for index, peer in ipairs(peers) do
            members[index] = { name = peer.name, peers = { peer } }
        end
    end
    local points = {}
    for _, member in ipairs(members) do
        for number = 1, POINTS do
            points[#points + 1] = { at = crc32(member.name .. "-" .. number), peers = member.peers }
        end
    end
    table.sort(points, function(a, b) return a.at < b.at end)
    return points
end

-- The index of the point that owns `key`.
function M.find(ring, key)
    local at = crc32(key)
    local low, high = 1, #ring
    if high == 0 or ring[high].at < at then
        return 1
    end
    while low < high do
        local middle = floor((low + high) / 2)
        if ring[middle].at < at then
            low = middle + 1
        else
            high = middle
        end
    end
    return low
end

-- The text that parts (plain texts, and variables as one-entry lists) make of this request.
function M.text(parts)
    local out = {}
    for index, part in ipairs(parts) do
        out[index] = type(part) == "table" and (ngx.var[part[1]] or "") or part
    end
    return concat(out)
end

return M
