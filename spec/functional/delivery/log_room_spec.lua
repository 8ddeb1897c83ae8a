-- The log after a backlog: the room that it has taken on the disk is given back.

local checker = require "spec.support.checker"
local scene = require "spec.support.scene"
local uv = require "luv"

local MB = 1024 * 1024

-- What the segments of all workers take.
local function segments(s)
  local bytes, count = 0, 0
  local top = s.gateway.state_dir .. "/log"
  for name in uv.fs_scandir_next, (assert(uv.fs_scandir(top))) do
    for file in uv.fs_scandir_next, (assert(uv.fs_scandir(top .. "/" .. name))) do
      local facts = file:find "%.segment$" and uv.fs_stat(("%s/%s/%s"):format(top, name, file))
      if facts then
        bytes, count = bytes + facts.blocks * 512, count + 1
      end
    end
  end
  return bytes, count
end

describe("a backlog that is drained", function()
  after_each(scene.stop)

  it("leaves a small segment, and what comes next is kept as ever", function()
    local s = scene.start {}
    s.bot:wait_for_events(1 + #s.fake:guilds())
    s.bot:down()
    s.fake:emit { count = 200, shard = 0, size = 60000 }
    s.fake:wait_emitted(30000)
    s.fake:wait_for("a large segment", function() return segments(s) > 64 * MB end)
    s.bot:up()
    s:wait_delivered(30000)
    s.fake:wait_for("room to be given back", function()
      local bytes, count = segments(s)
      return bytes <= 4 * MB and count == 1
    end)
    -- A death and a new backlog.
    s.bot:down()
    s.fake:emit { count = 50, shard = 0 }
    s.fake:wait_emitted()
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
    s:wait_counter("resumes_ok", 1, 20000)
    s.bot:up()
    local sent = s:wait_delivered(30000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent })
  end)
end)
