-- REST in the spec process: answers GET /gateway/bot as a spec wants it.
--
--   local rest = rest_server.start { { 429, nil, "<html>" }, "hang", rest_server.info(fake) }
--   rest.url            for REST_URL
--   rest.requests       all so far, as http.serve() gives them, each with its time: request.at (ms)
--   rest:close()
--
-- The answers are given one after the other, the last one for ever: a list of status, headers, body; "hang",
-- "reset"; or a function that returns one of these.

local cjson = require "cjson"
local http = require "spec.support.http"
local loop = require "spec.support.loop"

local rest_server = {}

-- The good answer of a fake Discord (nil: of one that is not there); `changes` to its fields.
function rest_server.info(fake, changes)
  local body = {
    url = fake and fake.gateway or "ws://127.0.0.1:9",
    shards = 1,
    session_start_limit = { total = 1000, remaining = 999, reset_after = 14400000, max_concurrency = 1 },
  }
  for name, value in pairs(changes or {}) do
    body[name] = value
  end
  return { 200, { ["Content-Type"] = "application/json" }, cjson.encode(body) }
end

function rest_server.start(answers)
  local server
  server = http.serve(function(request)
    request.at = loop.now()
    server.requests[#server.requests + 1] = request
    local answer = answers[#server.requests] or answers[#answers]
    if type(answer) == "function" then
      answer = answer()
    end
    if answer == "hang" then
      return
    elseif answer == "reset" then
      return request:reset()
    end
    return answer[1], answer[2], answer[3]
  end)
  server.requests = {}
  server.url = server.url .. "/api/v10"
  return server
end

return rest_server
