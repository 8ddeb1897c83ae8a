-- Every script in examples/ loads in both roles.

local paths = require "spec.support.paths"
local process = require "spec.support.process"
local uv = require "luv"

after_each(process.cleanup)

local scan = assert(uv.fs_scandir(paths.root .. "/examples"))
while true do
  local name = uv.fs_scandir_next(scan)
  if not name then
    break
  end
  if name:find "%.lua$" and name ~= "bot.lua" then -- the bot is no script of the gateway
    it("loads examples/" .. name, function()
      local check = process.run({ paths.bin "tidegate", "check", "examples/" .. name }, {
        env = { DISCORD_TOKEN = "token-for-checking", TIDEGATE_STATE_DIR = paths.tmp() },
      })
      assert.equal(0, check.exit_code, check.stdout .. check.stderr)
      assert.is_nil((check.stdout .. check.stderr):find("token-for-checking", 1, true))
    end)
  end
end
