-- gateway.state through a reload. `mine` is the new script's table, which it may
-- have changed while it loaded; `base` is what it found there, or nil; `theirs`
-- is what the old script has left. What the new script set stays, everything
-- else is as the old one left it. Tables are filled, never exchanged: the new
-- script may hold them already.

local type, pairs, rawequal = type, pairs, rawequal

-- Tables change by what is in them.
local function is_as_before(here, before)
  return rawequal(here, before) or type(here) == "table" and type(before) == "table"
end

local function merge(mine, base, theirs)
  for key, value in pairs(theirs) do
    local here, before = mine[key], base and base[key]
    if type(here) == "table" and type(value) == "table" then
      merge(here, type(before) == "table" and before or nil, value)
    elseif is_as_before(here, before) then
      mine[key] = value
    end
  end
  for key, before in pairs(base or {}) do
    if theirs[key] == nil and is_as_before(mine[key], before) then mine[key] = nil end
  end
end

return merge
