-- The control API: each route, what it takes and what it answers.

local scene = require "spec.support.scene"

describe("the control API", function()
  after_each(scene.stop)

  it("tells whether the gateway lives, and whether all shards are ready", function()
    local s = scene.start { shards = 2, bot = false, fake = { max_concurrency = 2 } }
    local answer = s.gateway:control("GET", "/healthz")
    assert.same({ 200, "application/json", "ok" },
      { answer.status, answer.headers["content-type"], answer:json().status })
    assert.equal(200, s.gateway:control("GET", "/readyz").status)
  end)
end)
