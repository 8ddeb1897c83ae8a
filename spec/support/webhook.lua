-- An event handler that takes requests of any form, and keeps them as they came.
--
--   local hook = webhook.start()
--   local s = scene.start { bot = false, env = { EVENT_HANDLER_URL = hook.url } }
--   hook:wait_for(2, '"READY"')            whose body has this text
--   hook.requests[1]                       {headers, body, key, status}; :json() decodes the body
--
-- It answers 204, or what hook:answer(function(request) return 503 end) says: "hang" never; nil: 204 again.
-- hook:down() and hook:up() as of spec.support.bot.

local cjson = require "cjson"
local http = require "spec.support.http"
local loop = require "spec.support.loop"

local webhook = {}

local Hook = {}
Hook.__index = Hook

local Request = {}
Request.__index = Request

function Request:json()
  return cjson.decode(self.body)
end

function webhook.start(options)
  local self = setmetatable({ requests = {} }, Hook)
  self.server = http.serve(function(request)
    local kept = setmetatable({
      headers = request.headers, body = request.body, key = request.headers["idempotency-key"],
    }, Request)
    local status, headers, body = 204, nil, nil
    if self.policy then
      status, headers, body = self.policy(kept)
    end
    if status == "hang" then
      return nil
    end
    kept.status = status or 204
    self.requests[#self.requests + 1] = kept
    return kept.status, headers, body
  end, options)
  self.url = self.server.url
  return self
end

function Hook:answer(policy)
  self.policy = policy
end

function Hook:down()
  self.server:pause()
end

function Hook:up()
  self.server:listen()
end

-- Those that were accepted and whose body has the text, or for which it is true.
function Hook:select(which)
  local found = {}
  for _, request in ipairs(self.requests) do
    local matches = not which or (type(which) == "function" and which(request))
      or (type(which) == "string" and request.body:find(which, 1, true))
    if matches and request.status < 300 then
      found[#found + 1] = request
    end
  end
  return found
end

function Hook:wait_for(n, which, timeout)
  loop.step()
  loop.wait_for(function()
    local last = self.requests[#self.requests]
    return ("%d requests with %s; %d have come, the last: %s"):format(
      n, tostring(which), #self.requests, last and last.body:sub(1, 300) or "none")
  end, function()
    return #self:select(which) >= n
  end, timeout, 2)
  return self:select(which)
end

function Hook:forget()
  self.requests = {}
end

function Hook:close()
  self.server:close()
end

return webhook
