-- Loaded by busted before the specs of a run: ends whatever they left behind.

local busted = require "busted"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local uv = require "luv"

busted.subscribe({ "suite", "end" }, function()
  process.cleanup()
  paths.cleanup()
  -- luv must not find open handles when the Lua state closes: it would call into what is gone already.
  uv.walk(function(handle)
    if not handle:is_closing() then
      handle:close()
    end
  end)
  uv.run()
  return nil, true
end)
