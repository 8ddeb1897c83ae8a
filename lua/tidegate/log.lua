-- gateway.log: one line each, with string.format's directives when there are
-- arguments. A line below the configured level costs no formatting.

local core = require "tidegate.core"
local format, select, tostring = string.format, select, tostring

local log = {}

-- A value that is missing at the end is nil, as everywhere in Lua, where
-- string.format alone would raise.
local function format_padded(text, ...)
  local values, count = { ... }, select("#", ...)
  return pcall(format, text, unpack(values, 1, count + 8))
end

for level, name in ipairs { "debug", "info", "warn", "error" } do
  log[name] = function(text, ...)
    if not core.log_on(level - 1) then return end
    if select("#", ...) > 0 then
      local ok, line = pcall(format, text, ...)
      if not ok then ok, line = format_padded(text, ...) end
      if not ok then error(("gateway.log.%s: %s"):format(name, line), 2) end
      text = line
    end
    core.log(level - 1, tostring(text))
  end
end

return log
