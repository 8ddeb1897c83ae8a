-- Loaded by busted before the specs of a run. Ends whatever they leave behind.

local busted = require "busted"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local uv = require "luv"

-- Who writes to a connection that the other side has cut is told so by the write, and not ended by a signal.
-- A handler, unlike a signal that is ignored, is not inherited by the programs under test.
local broken_pipes = uv.new_signal()
broken_pipes:start("sigpipe", function() end)
broken_pipes:unref()

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
