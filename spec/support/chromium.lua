-- Debian's Chromium without a window, driven over its DevTools protocol.
--
--   local browser, why = chromium.start()
--   if not browser then
--     return pending(why)
--   end
--   local page = browser:open("http://127.0.0.1:8377/")
--   page:eval "document.title"                      a value of JSON
--   page:wait("the page to be live", "document.title !== ''")
--   page:press "Tab"                                a key, as a person presses it
--   page:type "text"
--   page:resize(360, 740)        page:dark(true)
--   page:screenshot(name)                           build/screenshots/<name>.png
--   page.problems                                   what the page has complained of
--
-- chromium.cleanup() for after_each; the browser goes with it.

local cjson = require "cjson"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local uv = require "luv"
local ws_client = require "spec.support.ws_client"

local chromium = {}

local Browser, Page = {}, {}
Browser.__index = Browser
Page.__index = Page

local running = {}

local function find_program()
  for folder in (os.getenv "PATH" or ""):gmatch "[^:]+" do
    if uv.fs_access(folder .. "/chromium", "X") then
      return folder .. "/chromium"
    end
  end
end

local PATIENCE = 30000 -- ms: it starts slowly where others work, too

-- nil, and why: there is none here.
function chromium.start()
  local program = find_program()
  if not program then
    return nil, "there is no chromium here (scripts/install-deps brings it)"
  end
  local self = setmetatable({ answers = {}, pages = {}, last_id = 0, seen = 0 }, Browser)
  self.process = process.start {
    program, "--headless=new", "--remote-debugging-port=0", "--user-data-dir=" .. paths.tmp(),
    "--no-first-run",
    "--no-sandbox", -- for the superuser it has none
    "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-proxy-server", "about:blank",
  }
  running[#running + 1] = self
  local url = self.process:wait_for_output("DevTools listening on (ws://%S+)", "stderr", PATIENCE)
  local host, path = url:match "^(ws://[^/]+)(/.*)$"
  self.line = ws_client.connect(host, { target = path })
  return self
end

-- What has come: answers by their number, events to their page.
local function take_messages(self)
  local messages = self.line.messages
  for i = self.seen + 1, #messages do
    local message = messages[i]
    messages[i] = {} -- screenshots are large
    if message.id then
      self.answers[message.id] = message
    elseif self.pages[message.sessionId] then
      self.pages[message.sessionId]:hear(message.method, message.params)
    end
  end
  self.seen = #messages
end

function Browser:call(method, params, session)
  self.last_id = self.last_id + 1
  local id = self.last_id
  self.line:send { id = id, method = method, params = params or { _ = cjson.null }, sessionId = session }
  loop.wait_for("Chromium's answer to " .. method, function()
    take_messages(self)
    return self.answers[id]
  end, PATIENCE, 3)
  local answer = self.answers[id]
  self.answers[id] = nil
  if answer.error then
    error(method .. ": " .. answer.error.message, 3)
  end
  return answer.result
end

-- A tab with that page.
function Browser:open(url)
  local target = self:call("Target.createTarget", { url = "about:blank" }).targetId
  local session = self:call("Target.attachToTarget", { targetId = target, flatten = true }).sessionId
  local page = setmetatable({ browser = self, session = session }, Page)
  page.problems, page.requests = {}, {}
  self.pages[session] = page
  for _, domain in ipairs { "Page", "Runtime", "Log", "Network" } do
    page:call(domain .. ".enable")
  end
  page:resize(1280, 900)
  page:call("Page.navigate", { url = url })
  return page
end

function Page:call(method, params)
  return self.browser:call(method, params, self.session)
end

local COMPLAINTS = {
  ["Runtime.exceptionThrown"] = function(params)
    local details = params.exceptionDetails
    return details.exception and details.exception.description or details.text
  end,
  ["Log.entryAdded"] = function(params)
    local entry = params.entry
    return entry.level == "error" and entry.source ~= "network" and entry.text or nil
  end,
}

function Page:hear(method, params)
  local complaint = COMPLAINTS[method] and COMPLAINTS[method](params)
  if complaint then
    self.problems[#self.problems + 1] = complaint
  elseif method == "Network.requestWillBeSent" then
    self.requests[#self.requests + 1] = params.request.url
  end
end

-- The value of an expression.
function Page:eval(expression)
  local answer = self:call("Runtime.evaluate",
    { expression = expression, returnByValue = true, awaitPromise = true })
  local problem = answer.exceptionDetails
  if problem then
    error(expression .. ": " .. (problem.exception.description or problem.text), 2)
  end
  local value = answer.result.value
  if value == cjson.null then
    return nil
  end
  return value
end

-- Waits until the expression is true there, and returns its value. A page that is not loaded yet may raise.
function Page:wait(description, expression, timeout)
  local deadline = loop.now() + (timeout or 20000) * paths.slow
  while true do
    local ok, value = pcall(self.eval, self, expression)
    if ok and value then
      return value
    elseif loop.now() > deadline then
      error(("waited in vain for %s (%s); the page shows:\n%s\n%s"):format(description, tostring(value),
        tostring(self:eval "document.body.innerText"):sub(1, 3000), table.concat(self.problems, "\n")), 2)
    end
  end
end

-- The text that an element shows.
function Page:text(selector)
  return self:eval(("document.querySelector(%s)?.innerText"):format(cjson.encode(selector)))
end

local KEYS = {
  Enter = { 13, "\r" }, Tab = { 9 }, Escape = { 27 }, [" "] = { 32, " " }, Home = { 36 }, End = { 35 },
  ArrowLeft = { 37 }, ArrowUp = { 38 }, ArrowRight = { 39 }, ArrowDown = { 40 },
}

function Page:press(key)
  local code, text = KEYS[key][1], KEYS[key][2]
  self:call("Input.dispatchKeyEvent",
    { type = text and "keyDown" or "rawKeyDown", key = key, windowsVirtualKeyCode = code, text = text })
  self:call("Input.dispatchKeyEvent", { type = "keyUp", key = key, windowsVirtualKeyCode = code })
end

function Page:type(text)
  self:call("Input.insertText", { text = text })
end

-- Goes on with the key Tab until the element that matches has the focus.
function Page:tab_to(selector)
  for _ = 1, 60 do
    if self:eval(("document.activeElement.matches(%s)"):format(cjson.encode(selector))) then
      return
    end
    self:press "Tab"
  end
  error("the key Tab does not lead to " .. selector, 2)
end

function Page:resize(width, height)
  self:call("Emulation.setDeviceMetricsOverride",
    { width = width, height = height, deviceScaleFactor = 1, mobile = false })
end

function Page:dark(dark)
  self:call("Emulation.setEmulatedMedia",
    { features = { { name = "prefers-color-scheme", value = dark and "dark" or "light" } } })
end

-- All of the page, for people to look at.
function Page:screenshot(name)
  local folder = paths.build .. "/screenshots"
  uv.fs_mkdir(folder, 493)
  local height = self:call("Page.getLayoutMetrics").cssContentSize.height
  local answer = self:call("Page.captureScreenshot", {
    captureBeyondViewport = true,
    clip = { x = 0, y = 0, width = self:eval "innerWidth", height = height, scale = 1 },
  })
  local png = process.run({ "sh", "-c", 'base64 -d <"$1" >"$2"', "sh",
    paths.write(paths.tmp() .. "/picture", answer.data), ("%s/%s.png"):format(folder, name) })
  assert(png.exit_code == 0, png.stderr)
end

function Browser:stop()
  self.line:drop()
  self.process:kill "SIGKILL" -- it has nothing to keep
  self.process:wait(PATIENCE)
end

function chromium.cleanup()
  for _, browser in ipairs(running) do
    browser:stop()
  end
  running = {}
end

return chromium
