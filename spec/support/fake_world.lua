-- What the specs of the fake Discord share: clients that are ready in one call, and REST.

local assert = require "luassert"
local cjson = require "cjson"
local http = require "spec.support.http"
local ws_client = require "spec.support.ws_client"

local world = {}

local fake
local clients = {}

function world.use(given)
  fake = given
end

-- options: of ws_client.connect. `other`: another fake than that of use().
function world.connect(options, other)
  local client = ws_client.connect((other or fake).gateway, options)
  clients[#clients + 1] = client
  return client
end

-- Op 2 with changes to its d; cjson.null takes a member away. Guilds, guild messages, message content.
function world.identify_payload(changes)
  local d = {
    token = fake.token,
    properties = { os = "linux", browser = "spec", device = "spec" },
    intents = 33281,
    shard = { 0, 1 },
  }
  for name, value in pairs(changes or {}) do
    d[name] = value ~= cjson.null and value or nil
  end
  return { op = 2, d = d }
end

-- A client with a session; client.session_id. It never waits for its bucket: few specs are about buckets.
function world.ready(changes, options)
  local window = fake:settings().identify_window
  if window > 0 and window <= 200 then
    fake:settings { identify_window = 0 }
  end
  local client = world.connect(options)
  client:wait_op(10)
  client:send(world.identify_payload(changes))
  client.session_id = client:wait_event("READY").d.session_id
  return client
end

-- options: json, headers (false takes one away).
function world.rest(method, path, options)
  options = options or {}
  local headers = { Authorization = "Bot " .. fake.token, ["User-Agent"] = "DiscordBot (spec, 1)" }
  for name, value in pairs(options.headers or {}) do
    headers[name] = value or nil
  end
  return http.request(method, fake.rest .. path, { headers = headers, json = options.json })
end

-- The entry of the first violation of a rule.
function world.violation(rule)
  for _, entry in ipairs(fake:state("violations").violations) do
    if entry.rule == rule then
      return entry
    end
  end
end

-- The client is closed with `code`, and the fake says which rule was broken.
function world.assert_closed(client, code, rule)
  assert.equal(code, client:wait_end())
  local entry = world.violation(rule)
  assert.is_not_nil(entry, "no violation of " .. rule)
  assert.equal(tostring(code), entry.verdict)
end

function world.cleanup()
  for _, client in ipairs(clients) do
    client:drop()
  end
  clients = {}
end

return world
