-- Tables that answer misspelt names with an error, and cannot be changed.

local core = require "tidegate.core"

local guard = {}

-- "; did you mean 'x'?", or "".
function guard.suggestion(name, known)
  local meant = type(name) == "string" and core.suggest(name, known)
  return meant and ("; did you mean '%s'?"):format(meant) or ""
end

-- A view of `fields` whose unknown names raise and whose fields stay.
function guard.sealed(title, fields)
  local function missing(_, name)
    local known = {}
    for key in pairs(fields) do known[#known + 1] = key end
    error(("%s has no '%s'%s"):format(title, tostring(name), guard.suggestion(name, known)), 2)
  end
  return setmetatable({}, {
    __index = setmetatable(fields, { __index = missing }),
    __newindex = function(_, name) error(("%s.%s cannot be assigned"):format(title, tostring(name)), 2) end,
    __metatable = title,
  })
end

-- Like sealed, but a name without a value is nil; lists stay plain tables, so
-- that # and ipairs work on them.
function guard.read_only(title, values)
  if #values > 0 or next(values) == nil then return values end
  for key, value in pairs(values) do
    if value == core.json.null then
      values[key] = nil
    elseif type(value) == "table" then
      values[key] = guard.read_only(title .. "." .. key, value)
    end
  end
  return setmetatable({}, {
    __index = values,
    __newindex = function(_, name)
      error(("%s.%s cannot be assigned: the configuration is settled by gateway.configure"):format(title,
        tostring(name)), 2)
    end,
    __metatable = title,
  })
end

return guard
