-- A bot goes from one number of shards to another while events flow: none is lost, none comes twice, each
-- guild's are in order, and it takes no identify more than there are new shards.

local cjson = require "cjson"
local resharding = require "spec.support.resharding"

after_each(resharding.stop)

local function start(shards)
  return resharding.start { shards = shards, per_worker = math.ceil(shards / 2), workers = 2, rate = 200,
    repeat_rate = 50 }
end

local function ask(t, path)
  return cjson.decode(t.gateway:control("GET", path).body)
end

local function go_over(t, from, to)
  local begun = t:reshard(to)
  assert.same({ from, to }, { begun.from, begun.to })
  t:interact(3)
  t:await_phase "switching"
  t:interact(3)
  local over = t:await_over()
  assert.same({ "done", from, to, to }, { over.result, over.from, over.to, over.identifies })
end

describe("with events flowing", function()
  for _, pair in ipairs { { 4, 6 }, { 3, 4 } } do
    local from, to = pair[1], pair[2]
    it(("a bot goes from %d to %d shards"):format(from, to), function()
      local t = start(from)
      go_over(t, from, to)
      t:assert_verdict { name = from .. " to " .. to, identifies = { [from] = from, [to] = to } }
      assert.equal(to, #ask(t, "/shards"))
      t.gateway:stop()
      t:again { ready = false } -- with the number that it has, whatever was configured
      t.gateway:wait_ready(to)
      assert.equal(to, #ask(t, "/shards"))
      assert.equal(from + to, t:counters().identifies)
    end)
  end

  it("there and back again", function()
    local t = start(4)
    go_over(t, 4, 8)
    go_over(t, 8, 4)
    t:assert_verdict { name = "4, 8, 4", identifies = { [4] = 8, [8] = 8 } }
  end)
end)
