-- What makes processes under test load one of the libraries of spec/support before all others. Those that are
-- built with sanitizers would refuse to come second.

local paths = require "spec.support.paths"

local preload = {}

-- The environment for process.start(), gateway.start() and scene.start(): `own` are the library's variables,
-- `more` those of the spec, which win.
function preload.env(library, own, more)
  local env = {
    LD_PRELOAD = paths.bin("spec/" .. library .. ".so"),
    ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":verify_asan_link_order=0",
  }
  for _, variables in ipairs { own, more or {} } do
    for name, value in pairs(variables) do
      env[name] = value
    end
  end
  return env
end

return preload
