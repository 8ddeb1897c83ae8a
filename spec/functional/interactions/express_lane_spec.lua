-- interaction.express: interactions pass a backlog, beside the order of their shard, each still once.

local checker = require "spec.support.checker"
local loop = require "spec.support.loop"
local scene = require "spec.support.scene"
local uv = require "luv"

local BACKLOG = 5000

local s

local function start(more)
  s = scene.start {
    hurry = 10,
    script = ([[
require "tidegate".configure {
  interaction = { express = true, grace = 1000 }, queue = { memory_bytes = 65536 }, %s
}
]]):format(more or ""),
  }
  s.bot:wait_for_events(1 + #s.fake:guilds())
  return s
end

-- The bot takes interactions alone; what else there is piles up.
local function pile_up()
  s.bot:answer(function(_, event)
    if event.t ~= "INTERACTION_CREATE" then
      return 429, { ["Retry-After"] = "1" }
    end
  end)
  s.fake:emit { count = BACKLOG, shard = 0 }
  s.fake:wait_emitted(30000)
end

local function emit(count)
  local ids = {}
  for i, given in ipairs(s.fake:emit({ interaction = 2, shard = 0, count = count }).interactions) do
    ids[i] = given.id
  end
  return ids
end

local function assert_each_once(ids, repeats)
  local got = {}
  for _, event in ipairs(s.bot:select "INTERACTION_CREATE") do
    local id = event:data().id
    assert.is_true(not got[id] or repeats and got[id] == event.key, "interaction " .. id .. " came twice")
    got[id] = event.key
  end
  for _, id in ipairs(ids) do
    assert.is_string(got[id], "interaction " .. id .. " is lost")
  end
end

-- Everything else, in its order.
local function assert_others_complete(repeats)
  local sent = s:wait_delivered(60000)
  local others = s.bot:select(function(event) return event.t ~= "INTERACTION_CREATE" end)
  local check = repeats and checker.assert_nothing_lost or checker.assert_complete
  check(others, { guilds = sent })
end

describe("with interaction.express", function()
  after_each(scene.stop)

  it("interactions pass 5,000 events, and are answered by the bot", function()
    start()
    pile_up()
    local ids = emit(30)
    s.bot:wait_for_events(30, "INTERACTION_CREATE")
    assert.equal(0, #s.bot:select "MESSAGE_CREATE")
    s.bot:answer(nil)
    local more = emit(20) -- while the rest comes
    assert_others_complete()
    s.bot:wait_for_events(50, "INTERACTION_CREATE")
    assert_each_once(ids)
    assert_each_once(more)
    assert.same({}, s:list "callbacks")
    assert.equal(50, #s.bot:select "INTERACTION_CREATE")
  end)

  it("a worker may be killed: what has passed does not come again", function()
    start()
    pile_up()
    local ids = emit(20)
    s.bot:wait_for_events(20, "INTERACTION_CREATE")
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
    s:wait_counter("resumes_ok", 1)
    s.bot:answer(nil)
    assert_others_complete(true)
    assert_each_once(ids, true)
    -- At most what was in flight at that moment.
    assert.is_true(#s.bot:select "INTERACTION_CREATE" <= 24)
  end)

  it("what is not accepted takes its turn", function()
    start()
    pile_up()
    local refused = {}
    s.bot:answer(function(_, event)
      if event.t ~= "INTERACTION_CREATE" then
        return 429, { ["Retry-After"] = "1" }
      end
      refused[event.s] = (refused[event.s] or 0) + 1
      return 429
    end)
    local ids = emit(10)
    loop.wait_for("ten refusals", function()
      local n = 0
      for _ in pairs(refused) do
        n = n + 1
      end
      return n == 10
    end)
    s.bot:answer(nil)
    local sent = s:wait_delivered(60000)
    s.bot:wait_for_events(10, "INTERACTION_CREATE")
    for _, count in pairs(refused) do
      assert.equal(1, count)
    end
    assert_each_once(ids)
    checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
  end)

  it("batches and interactions get along", function()
    start "event_handler = { batch = true }"
    pile_up()
    local ids = emit(10)
    s.bot:wait_for_events(10, "INTERACTION_CREATE")
    s.bot:answer(nil)
    assert_others_complete()
    assert_each_once(ids)
  end)
end)
