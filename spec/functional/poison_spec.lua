-- A handler of gateway.on that is the end of its worker, each time: the event is safe before the handler
-- starts, and is not shown to it again.

local checker = require "spec.support.checker"
local loop = require "spec.support.loop"
local scene = require "spec.support.scene"

describe("an event whose handler crashes the worker", function()
  after_each(scene.stop)

  for _, durability in ipairs { "log", "memory" } do
    it("does so once, and is delivered, with durability \"" .. durability .. '"', function()
      local s = scene.start { env = scene.crashes, reload = false, script = ([[
local gateway = require "tidegate"
gateway.configure { queue = { durability = %q } }
gateway.on("MESSAGE_CREATE", function(event)
  local n = tonumber(event.data.nonce:match "%%d+$")
  gateway.log.info("handler of %%d", n)
  if n == 5 then
    local ffi = require "ffi"
    ffi.cast("int *", 0)[0] = 1
  end
end)
]]):format(durability) }
      s.bot:wait_for_events(1 + #s.fake:guilds())
      local guild = s.fake:guilds()[1].id
      s.bot:down() -- what waits in memory comes again from Discord
      s.fake:emit { count = 10, guild = guild }
      s:wait_counter("resumes_ok", 1)
      s.bot:up()
      local sent = s:wait_delivered(20000)
      checker.assert_nothing_lost(s.bot.events, { guilds = sent })
      loop.wait_for("the last handler", function() return s.gateway:count_log "handler of 10" > 0 end)
      for n = 1, 10 do -- those in front of it are not shown twice either
        assert.equal(1, s.gateway:count_log("handler of " .. n .. "$"), "handler of " .. n)
      end
      assert.equal(1, s:counters().identifies)
      assert.equal(1, s:counters().resumes)
    end)
  end
end)
