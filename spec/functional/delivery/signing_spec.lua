-- event_handler.signing_secrets: each request is signed as Standard Webhooks, which its own library verifies.

local cjson = require "cjson"
local loop = require "spec.support.loop"
local npm = require "spec.support.npm"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"
local webhook = require "spec.support.webhook"

local OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
local NEW = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
local OTHER = "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="

local hook

local function script_of(secrets, more)
  return ('require "tidegate".configure { event_handler = { signing_secrets = { %s }, %s } }\n'):format(
    secrets, more or "")
end

local function start(options)
  hook = webhook.start()
  options.bot = false
  options.env = options.env or {}
  options.env.EVENT_HANDLER_URL = hook.url
  return scene.start(options)
end

-- By the library itself: of each request, which of the secrets verify it.
local VERIFY = [[
  import { Webhook } from "standardwebhooks";
  import { readFileSync } from "node:fs";
  const { secrets, requests } = JSON.parse(readFileSync("given.json", "utf8"));
  const verified = requests.map(({ headers, body }) => secrets.map((secret) => {
    try {
      new Webhook(secret).verify(body, headers);
      return true;
    } catch (error) {
      return error.message;
    }
  }));
  process.stdout.write(JSON.stringify(verified));
]]

local function verify(modules, secrets)
  local given = { secrets = secrets, requests = {} }
  for i, request in ipairs(hook.requests) do
    given.requests[i] = { headers = request.headers, body = request.body }
  end
  return cjson.decode(npm.run(modules, VERIFY, { ["given.json"] = cjson.encode(given) }))
end

describe("event_handler.signing_secrets", function()
  local modules, why = npm.install { "standardwebhooks" }

  after_each(function()
    scene.stop()
    if hook then
      hook:close()
    end
  end)

  it("are not used without being set", function()
    start {}
    assert.is_nil(hook:wait_for(1)[1].headers["webhook-id"])
    assert.is_nil(hook.requests[1].headers["webhook-signature"])
  end)

  it("sign what the library verifies, with each of the two, and no other", function()
    if not modules then
      return pending(why)
    end
    local s = start { script = script_of(("%q, %q"):format(NEW, OLD)) }
    s.fake:emit { event = "MESSAGE_CREATE", guild = s.fake:guilds()[1].id, d = { content = "é \\ \n \"" } }
    hook:wait_for(1, "MESSAGE_CREATE")
    for i, verified in ipairs(verify(modules, { NEW, OLD, OTHER })) do
      assert.same({ true, true, "No matching signature found" }, verified, hook.requests[i].body)
      assert.equal((hook.requests[i].key:gsub("%.", "_")), hook.requests[i].headers["webhook-id"])
    end
    assert.is_nil(s.gateway.stderr:find(NEW, 1, true))
    assert.is_nil(s.gateway.stderr:find(OLD:sub(7), 1, true))
  end)

  it("sign lists as they are sent, in any format", function()
    if not modules then
      return pending(why)
    end
    local s = start { script = script_of(("%q"):format(OLD), 'batch = true, format = "cloudevents"') }
    hook:wait_for(1)
    hook:down()
    s.fake:emit { count = 5, shard = 0 }
    s.fake:wait_emitted()
    hook:up()
    hook:wait_for(1, function(request) return request.key:find "%-" ~= nil end, 30000)
    for _, verified in ipairs(verify(modules, { OLD })) do
      assert.same({ true }, verified)
    end
  end)

  it("sign each attempt anew, with the time of then and the same id", function()
    local s = start { script = script_of(("%q"):format(OLD)), hurry = 10 }
    hook:wait_for(1 + #s.fake:guilds())
    hook:forget()
    local first
    hook:answer(function() -- until a second is over: timestamps have no smaller ones
      first = first or loop.now()
      return loop.now() - first > 1100 and 204 or 500
    end)
    s:type()
    hook:wait_for(1, "TYPING_START", 30000)
    local one, last = hook.requests[1], hook.requests[#hook.requests]
    assert.equal(one.body, last.body)
    assert.equal(one.headers["webhook-id"], last.headers["webhook-id"])
    assert.is_true(tonumber(last.headers["webhook-timestamp"]) > tonumber(one.headers["webhook-timestamp"]))
    assert.not_equal(one.headers["webhook-signature"], last.headers["webhook-signature"])
    if modules then
      for _, verified in ipairs(verify(modules, { OLD })) do
        assert.same({ true }, verified)
      end
    end
  end)

  it("are changed by reloads, one after the other", function()
    local s = start { script = script_of(("%q"):format(OLD)) }
    hook:wait_for(1 + #s.fake:guilds())
    local function signatures(secrets, user)
      paths.write(s.gateway.script, script_of(secrets))
      assert.is_true((s.gateway:reload()))
      hook:forget()
      s:type(user)
      local _, count = hook:wait_for(1, "TYPING_START")[1].headers["webhook-signature"]:gsub("v1,", "")
      return count
    end
    assert.equal(2, signatures(("%q, %q"):format(NEW, OLD), "1"))
    assert.equal(1, signatures(("%q"):format(NEW), "2"))
    if modules then
      assert.same({ { true, "No matching signature found" } }, verify(modules, { NEW, OLD }))
    end
  end)

  it("come from a file, too", function()
    local file = paths.write(paths.tmp() .. "/secrets", OLD .. "," .. NEW .. "\n")
    start { env = { EVENT_HANDLER_SIGNING_SECRETS_FILE = file } }
    local _, count = hook:wait_for(1)[1].headers["webhook-signature"]:gsub("v1,", "")
    assert.equal(2, count)
  end)
end)
