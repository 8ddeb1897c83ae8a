-- The status page as a browser shows it, in Debian's Chromium. What it looked like lies in build/screenshots
-- afterwards.

local cjson = require "cjson"
local chromium = require "spec.support.chromium"
local http = require "spec.support.http"
local installed = require "spec.support.installed"
local live = require "spec.support.live"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local prometheus = require "spec.support.prometheus"
local raw_client = require "spec.support.raw_client"
local redis = require "spec.support.redis"
local scene = require "spec.support.scene"

local LIVE = "document.querySelector('#line').innerText === 'live' && !document.querySelector('#main').hidden"
local SECRET = "open sesame, please"

describe("the status page in Chromium", function()
  local browser, why, s, page

  before_each(function() browser, why = chromium.start() end)

  after_each(function()
    local problems, foreign = {}, {}
    if page then
      problems = page.problems
      for _, url in ipairs(page.requests) do
        if url:find "^http" and url:sub(1, #page.origin) ~= page.origin then
          foreign[#foreign + 1] = url
        end
      end
    end
    page = nil
    chromium.cleanup()
    raw_client.cleanup()
    scene.stop()
    assert.same({}, problems)
    assert.same({}, foreign)
  end)

  local function start(options)
    options.reload = false -- reloads are looked at
    options.shards = options.shards or 4
    options.fake = options.fake or { max_concurrency = options.shards }
    s = scene.start(options)
    return s
  end

  local function open(wait)
    page = browser:open(s.gateway:control_url() .. "/")
    page.origin = s.gateway:control_url()
    if wait ~= false then
      page:wait("the page to be live", LIVE)
    end
    return page
  end

  local function kinds()
    return page:eval [[Object.fromEntries([...document.querySelectorAll("#legend button")]
      .map((button) => [button.dataset.kind, Number(button.querySelector("b").innerText.replace(",", ""))]))]]
  end

  local function wait_shows(selector, text)
    page:wait(("%q at %s"):format(text, selector),
      ("document.querySelector(%q)?.innerText.includes(%s)"):format(selector, cjson.encode(text)))
  end

  local function test(name, body)
    it(name, function()
      if not browser then
        return pending(why)
      end
      body()
    end)
  end

  test("shows shards that fall, and rise again", function()
    start { per_worker = 2, workers = 2 }
    open()
    assert.same({ up = 4, behind = 0, far = 0, coming = 0, down = 0, off = 0 }, kinds())
    assert.equal("All is well.", page:text "#problems")
    assert.is_true(page:eval "document.querySelector('#storms-there').hidden")
    assert.equal("4/4 · Tidegate", page:eval "document.title")
    s.fake:fault { at = "resume", ["do"] = "delay", ms = 60000, shard = 2 }
    s.fake:fault { ["do"] = "close", code = 4000, shard = 2 }
    wait_shows("#problems", "1 shard is not connected: 2.")
    wait_shows("#unwell", "Resuming")
    assert.same({ 3, 1 }, { kinds().up, kinds().coming })
    assert.equal("2 Resuming", page:eval "document.querySelector('#grid .cell[data-kind=coming]').ariaLabel")
    wait_shows("#figures", "3\nof 4")
    page:screenshot "shard-away"
    s.fake:fault { ["do"] = "close", code = 4000, shard = 2 }
    wait_shows("#problems", "All is well.")
    assert.equal(4, kinds().up)
    assert.is_true(page:eval "document.querySelector('#unwell').hidden")
  end)

  test("shows a handler that is down, what waits, and that it is back", function()
    start { hurry = 10 }
    open()
    wait_shows("#handlers", "up")
    s.bot:down()
    s.fake:emit { count = 40 }
    wait_shows("#problems", ("The event handler %s has been down for"):format(s.bot.url))
    wait_shows("#handlers", "down for")
    wait_shows("#sinks", "down")
    page:wait("events that wait", "document.querySelector('#sinks td:nth-child(3)').innerText !== '0'")
    page:wait("a shard that is behind", "document.querySelector('#grid [data-kind=behind]') !== null")
    page:screenshot "handler-down"
    s.bot:up()
    wait_shows("#problems", "All is well.")
    wait_shows("#events", "MESSAGE_CREATE")
    assert.equal(4, kinds().up)
  end)

  test("reloads the script, and shows the traceback when that fails", function()
    start { script = "\n" }
    open()
    paths.write(s.gateway.script, '\nlocal function inner() error("<b>no such table</b>") end\ninner()\n')
    page:eval "document.querySelector('#reload').click()"
    wait_shows("#said", "The reload failed, nothing has changed")
    wait_shows("#traceback", "script.lua:2: <b>no such table</b>")
    wait_shows("#traceback", "stack traceback")
    wait_shows("#problems", "The last reload failed")
    wait_shows("#warnings", "the reload failed, nothing has changed")
    page:screenshot "reload-failed"
    paths.write(s.gateway.script, "\n")
    page:eval "document.querySelector('#reload').click()"
    wait_shows("#said", "Reloaded: the script is generation 2.")
    wait_shows("#problems", "All is well.")
    wait_shows("#script", "1 reload done, 1 failed")
    assert.is_true(page:eval "document.querySelector('#traceback').hidden")
  end)

  test("shows which program runs, and how an upgrade went", function()
    local program = installed.new()
    start { program = program.path }
    open()
    wait_shows("#program", "0 upgrades done, 0 failed")
    program:put "#!/bin/sh\nexit 78\n"
    assert.equal(409, s.gateway:control("POST", "/upgrade", { timeout = 30000 }).status)
    wait_shows("#problems", "The last upgrade failed, and version 0.1.0 goes on.")
    wait_shows("#program", "ago: it ended with exit code 78")
    program:put { ["0.1.0"] = "0.1.7" }
    assert.equal(202, s.gateway:control("POST", "/upgrade", { timeout = 30000 }).status)
    wait_shows("#program", "Version 0.1.7, for")
    wait_shows("#program", "1 upgrade done, 1 failed · the last one, from 0.1.0 to 0.1.7, took effect")
    wait_shows("#problems", "All is well.")
    page:screenshot "upgraded"
  end)

  test("shows dead letters, and has them delivered again: secret, keyboard, narrow window", function()
    local refused = "<b>too large</b>"
    local function refuse(status)
      return function(_, event)
        if event.t == "MESSAGE_CREATE" then
          return status, nil, refused
        end
      end
    end
    start { shards = 1, env = { TIDEGATE_CONTROL_SECRET = SECRET }, bot = { answer = refuse(413) } }
    open(false)
    page:wait("the question", "!document.querySelector('#ask').hidden")
    page:type(SECRET)
    page:press "Enter"
    page:wait("the page to be live", LIVE)
    assert.is_true(page:eval "document.querySelector('#dead').hidden")
    s.fake:emit { count = 3, shard = 0 }
    wait_shows("#dead-said", "3 letters")
    wait_shows("#problems", "3 events were refused for good. See Dead letters.")
    local ROWS = "document.querySelectorAll('#letters tbody tr').length"
    page:wait("three letters", ROWS .. " === 3")
    wait_shows("#letters tbody tr", "MESSAGE_CREATE")
    wait_shows("#letters tbody tr", refused)
    assert.equal(0, page:eval "document.querySelectorAll('#letters b').length")
    page:screenshot "dead-letters"
    -- One, by the keyboard: the bot refuses it again, and it stays.
    page:resize(360, 800)
    assert.is_true(page:eval "document.documentElement.scrollWidth <= innerWidth")
    assert.is_true(page:eval [[(({ right, height }) => right <= innerWidth && height >= 40)(
      document.querySelector("#letters button").getBoundingClientRect())]])
    page:tab_to "#letters tbody tr:first-child button"
    assert.equal("Deliver letter 3 again", page:eval "document.activeElement.ariaLabel")
    s.bot:answer(refuse(422))
    page:press "Enter"
    wait_shows("#said", "0 of 1 letter delivered, 1 refused again: <b>too large</b>.")
    wait_shows("#letters tbody tr", "422")
    assert.equal("Deliver letter 3 again", page:eval "document.activeElement.ariaLabel")
    page:screenshot "dead-letters-narrow"
    -- Now it takes it, and the next row has the focus.
    s.bot:answer(nil)
    page:press "Enter"
    wait_shows("#said", "1 of 1 letter delivered.")
    page:wait("two letters", ROWS .. " === 2")
    assert.equal("Deliver letter 2 again", page:eval "document.activeElement.ariaLabel")
    assert.equal(1, #s.bot:select "MESSAGE_CREATE")
    -- All that is left, by the mouse.
    page:eval "document.querySelector('#retry-all').click()"
    wait_shows("#said", "2 of 2 letters delivered.")
    page:wait("no letters", "document.querySelector('#dead').hidden")
    wait_shows("#problems", "All is well.")
    assert.equal(3, #s.bot:select "MESSAGE_CREATE")
    assert.is_true(s.bot:select("MESSAGE_CREATE")[3].late)
  end)

  test("removes dead letters, and asks before: by the keyboard, and all of them", function()
    start { shards = 1, bot = { answer = function(_, event)
      if event.t == "MESSAGE_CREATE" then
        return 413, nil, "too large"
      end
    end } }
    open()
    s.fake:emit { count = 4, shard = 0 }
    local ROWS = "document.querySelectorAll('#letters tbody tr').length"
    local SURE = "document.querySelector('#sure').open"
    page:wait("four letters", ROWS .. " === 4")
    page:resize(360, 800)
    page:tab_to "#letters tbody tr:first-child [data-does=purge]"
    assert.equal("Remove letter 4", page:eval "document.activeElement.ariaLabel")
    -- No, three ways: Keep has the focus first; Escape; and nothing behind the question can be reached.
    page:press "Enter"
    wait_shows("#sure-said", "Remove letter 4 for good?")
    assert.equal("Keep", page:eval "document.activeElement.innerText")
    page:screenshot "dead-letters-sure"
    page:press "Enter"
    page:wait("no question", "!" .. SURE)
    assert.equal("Remove letter 4", page:eval "document.activeElement.ariaLabel")
    page:press "Enter"
    page:wait("the question", SURE)
    page:press "Escape"
    page:wait("no question", "!" .. SURE)
    assert.equal(4, s.gateway:control("GET", "/dead"):json().matching)
    page:press "Enter"
    page:wait("the question", SURE)
    page:press "Tab"
    assert.equal("Remove", page:eval "document.activeElement.innerText")
    page:press "Enter"
    wait_shows("#said", "1 letter is removed.")
    page:wait("three letters", ROWS .. " === 3")
    assert.equal("Remove letter 3", page:eval "document.activeElement.ariaLabel")
    wait_shows("#dead-said", "3 letters")
    page:eval "document.querySelector('#purge-all').click()"
    wait_shows("#sure-said", "Remove all 3 dead letters for good?")
    page:eval "document.querySelector('#sure-yes').click()"
    wait_shows("#said", "3 letters are removed.")
    page:wait("no letters", "document.querySelector('#dead').hidden")
    assert.equal(0, s.gateway:control("GET", "/dead"):json().matching)
    assert.equal(0, #s.bot:select "MESSAGE_CREATE")
  end)

  test("shows sessions that are deaf, and what is done for them", function()
    start { shards = 8, workers = 2, hurry = 100, intents = 33281, fake = { guilds = 8, max_concurrency = 8 },
      script = 'require "tidegate".configure { deaf_after = 60000 }' }
    -- It has known its shards for a week, in which each got messages all the time.
    s.gateway:stop()
    local path = s.gateway.state_dir .. "/baseline.json"
    local content = cjson.decode(paths.read(path))
    local busy = ("ff00"):rep(168) .. ("ff00"):rep(24) .. ("0000"):rep(9 * 24)
    for id = 0, 7 do content.shards[tostring(id)] = busy end
    content.together = busy
    paths.write(path, cjson.encode(content))
    s.fake:emit { count = 1000000, rate = 40 }
    s:again()
    open()
    assert.is_true(page:eval "document.querySelector('#deaf').hidden")
    for _ = 1, 50 do
      s.fake:fault { at = "resume", ["do"] = "delay", ms = 5000, shard = 3 }
    end
    s.fake:fault { ["do"] = "deafen", heals = true, shard = 3 }
    wait_shows("#problems", "Shard 3 seems deaf: no events for")
    wait_shows("#deaf-said", "it gets another connection.")
    wait_shows("#deaf-more", "1 resumed, 0 with a new session")
    wait_shows("#unwell", "deaf: reconnecting")
    assert.equal("reconnecting", page:eval "document.querySelector('#shard-8\\\\.3').dataset.deaf")
    page:screenshot "deaf"
    s.fake:fault { ["do"] = "clear" }
    wait_shows("#deaf-more", "1 hear again, 0 given up")
    wait_shows("#deaf-said", "All shards hear.")
    wait_shows("#problems", "All is well.")
  end)

  test("shows storms, where there are rules: which run, what they drop, what comes later", function()
    start { shards = 1, script = [[
      require "tidegate".configure { storm = { rules = {
        { events = "TYPING_START", per = "user", rate = 1, burst = 1, keep = "last" },
      } } }
    ]] }
    open()
    wait_shows("#storms", "TYPING_START per user")
    wait_shows("#storms td", "none")
    s.fake:emit { event = "TYPING_START", shard = 0, count = 6, d = { channel_id = "1", user_id = "5" } }
    wait_shows("#storms td", "1 now")
    local function cells()
      return page:eval "[...document.querySelectorAll('#storms tbody tr *')].map((cell) => cell.innerText)"
    end
    page:wait("what came later", "document.querySelector('#storms td:last-child').innerText === '1'")
    assert.same({ "TYPING_START per user", "1 now", "1", "5", "1" }, cells())
    assert.equal("far", page:eval "document.querySelector('#storms td').dataset.state")
    page:screenshot "storms"
    page:resize(360, 800)
    assert.is_true(page:eval "document.documentElement.scrollWidth <= innerWidth")
    page:screenshot "storms-narrow"
  end)

  test("can be used with the keyboard alone", function()
    start { shards = 6, workers = 1 }
    open()
    page:press "Tab"
    assert.equal("To the figures", page:eval "document.activeElement.innerText")
    page:tab_to "#grid"
    wait_shows("#detail", "Shard 0")
    page:press "ArrowRight"
    page:press "ArrowRight"
    page:press "ArrowLeft"
    wait_shows("#detail", "Shard 1 · Connected · worker 0")
    page:press "End"
    wait_shows("#detail", "Shard 5")
    assert.equal("shard-6.5",
      page:eval "document.querySelector('#grid').getAttribute('aria-activedescendant')")
    page:press "Enter"
    assert.equal("reconnect", page:eval "document.activeElement.id")
    assert.is_true(page:eval "getComputedStyle(document.activeElement).outlineStyle !== 'none'")
    page:screenshot "keyboard"
    page:press "Enter"
    wait_shows("#said", "Shard 5 is reconnecting.")
    s:wait_counter("resumes_ok", 1)
    assert.equal(5, s:list("resumes")[1].shard)
    assert.equal(6, s:counters().identifies)
    wait_shows("#detail", "1 reconnect")
  end)

  test("asks for the secret once, and keeps it in the memory of the tab alone", function()
    start { env = { TIDEGATE_CONTROL_SECRET = SECRET }, script = "\n" }
    open(false)
    page:wait("the question", "!document.querySelector('#ask').hidden")
    assert.equal("secret", page:eval "document.activeElement.id")
    assert.is_true(page:eval "document.querySelector('#main').hidden")
    page:screenshot "secret"
    page:type "something else"
    page:press "Enter"
    wait_shows("#ask-said", "That is not the secret.")
    page:type(SECRET)
    page:press "Enter"
    page:wait("the page to be live", LIVE)
    page:eval "document.querySelector('#reload').click()"
    wait_shows("#said", "Reloaded: the script is generation 2.")
    assert.same({ 0, 0, "" }, page:eval "[localStorage.length, sessionStorage.length, document.cookie]")
    assert.is_false(page:eval(("document.documentElement.outerHTML.includes(%q)"):format(SECRET)))
    assert.equal("", page:eval "document.querySelector('#secret').value")
    -- Nothing was refused before somebody had typed something.
    s.gateway:wait_for_log "was refused: no or a wrong secret"
    assert.equal(1, s.gateway:count_log "was refused: no or a wrong secret")
    page:call("Page.reload")
    page:wait("the question again", "document.querySelector('#ask')?.hidden === false")
  end)

  test("comes back by itself when the gateway is started again", function()
    start {}
    local at = s.gateway:control_url()
    open()
    local pid = page:eval "document.querySelector('#workers tbody td:last-child').innerText"
    s.gateway:stop()
    page:wait("the end to be seen", "document.documentElement.dataset.line === 'down'")
    assert.matches("trying again · as of %d%d:%d%d:%d%d", page:text "#line")
    assert.is_true(page:eval "document.querySelector('#reload').disabled")
    s:again { env = { TIDEGATE_CONTROL = at:match "^http://(.*)" } }
    page:wait("the page to be live again", LIVE)
    page:wait("the new process",
      ("document.querySelector('#workers tbody td:last-child').innerText !== %q"):format(pid))
    assert.is_false(page:eval "document.querySelector('#reload').disabled")
  end)

  test("shows a resharding, with both sets of shards", function()
    start { shards = 2, hurry = 20, fake = { max_concurrency = 4, guilds = 16 } }
    open()
    assert.is_true(page:eval "document.querySelector('#resharding').hidden")
    assert.equal(202, s.gateway:control("POST", "/reshard", { json = { totalShards = 4 } }).status)
    wait_shows("#resharding-said", "From 2 to 4 shards")
    page:wait("six shards", "document.querySelectorAll('#grid .cell').length === 6")
    page:screenshot "resharding"
    page:wait("the four new ones", "document.querySelectorAll('#grid .cell').length === 4", 60000)
    wait_shows("#figures", "4\nof 4")
    page:wait("its end", "document.querySelector('#resharding').hidden")
  end)

  test("shows the cluster", function()
    start { ready = false, env = {
      TIDEGATE_CLUSTER = redis.start():url(), TIDEGATE_CLUSTER_NAME = "ferry", TIDEGATE_CLUSTER_HOST = "gw-1",
    } }
    open()
    wait_shows("#cluster-said", "This host is gw-1 of the cluster ferry · its Redis answers")
    wait_shows("#cluster-said", "it has 4 of 4 shards")
    wait_shows("#hosts", "gw-1")
    wait_shows("#problems", "All is well.")
    page:screenshot "cluster"
  end)

  test("fits a telephone, in the light and in the dark, with a thousand shards", function()
    start { shards = 1000, per_worker = 500, workers = 2, log_level = "info", bot = false, ready = false,
      fake = { max_concurrency = 1000, guilds = 1000, total = 5000, remaining = 5000 } }
    s.gateway:wait_ready(1000, 60000)
    open()
    page:wait("all shards", "document.querySelectorAll('#grid .cell').length === 1000")
    wait_shows("#figures", "1,000\nof 1,000")
    local function fits()
      return page:eval "document.documentElement.scrollWidth <= innerWidth"
    end
    -- How far text and ground are from each other, as WCAG has it.
    local function contrast(selector)
      return page:eval(([[(() => {
        const light = (color) => color.match(/[\d.]+/g).slice(0, 3).map((c) => c / 255)
          .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
          .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
        const text = light(getComputedStyle(document.querySelector(%q)).color);
        const ground = light(getComputedStyle(document.documentElement).backgroundColor);
        return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
      })()]]):format(selector))
    end
    for _, dark in ipairs { false, true } do
      page:dark(dark)
      for _, width in ipairs { 1280, 768, 360 } do
        page:resize(width, 800)
        assert.is_true(fits(), ("it is too wide for %d"):format(width))
        assert.is_true(contrast "h2" > 7)
        assert.is_true(contrast "#figures dt" > 4.5)
        page:screenshot(("%d-%s"):format(width, dark and "dark" or "light"))
      end
      local ground = page:eval "getComputedStyle(document.documentElement).backgroundColor"
      assert.equal(dark, ground ~= "rgb(255, 255, 255)")
    end
    -- What a finger has to hit.
    assert.is_true(page:eval "document.querySelector('#reload').getBoundingClientRect().height >= 40")
  end)

  test("shows texts of others as texts", function()
    start { script = [[
      local gateway = require "tidegate"
      if gateway.role == "manager" then
        gateway.log.warn("<img src=x onerror=alert(1)>\n<script>alert(2)</script>")
      end
    ]] }
    s.fake:emit { event = "A_NEW_TYPE", shard = 0, d = { x = 1 } }
    open()
    wait_shows("#warnings", "<img src=x onerror=alert(1)>")
    wait_shows("#events", "A_NEW_TYPE")
    page:eval "document.querySelector('#warnings details').open = true"
    wait_shows("#warnings", "<script>alert(2)</script>")
    assert.equal(0, page:eval "document.querySelectorAll('#warnings img, #warnings script').length")
  end)

  test("says when 64 others look already, and lets go when nobody sees it", function()
    start { bot = false }
    local function viewers()
      local metrics = prometheus.parse(http.request("GET", s.gateway:control_url() .. "/metrics").body)
      return metrics:value "tidegate_live_viewers"
    end
    local others = {}
    for i = 1, 64 do
      others[i] = live.open(s.gateway)
    end
    open(false)
    wait_shows("#line", "64 viewers look at this gateway already")
    for _, other in ipairs(others) do
      other:close()
    end
    page:wait("the page to be live", LIVE)
    assert.equal(1, viewers())
    local function hide(hidden)
      page:eval(("Object.defineProperty(document, 'hidden', { value: %s, configurable: true });"
        .. "document.dispatchEvent(new Event('visibilitychange'))"):format(tostring(hidden)))
    end
    hide(true)
    local deadline = loop.now() + 10000 * paths.slow
    while viewers() > 0 do
      assert.is_true(loop.now() < deadline)
    end
    hide(false)
    page:wait("the page to be live", LIVE)
  end)

  test("reckons and words as it should", function()
    start { bot = false }
    open()
    local function module(name, expression)
      return page:eval(("import('/page/%s').then((m) => %s)"):format(name, expression))
    end
    assert.same({ "0 ms", "999 ms", "1.0 s", "9.9 s", "59 s", "1 min", "2 min 5 s", "1 h 1 min", "3 d", "–" },
      module("text.js", "[0, 999, 1000, 9999, 59999, 6e4, 125e3, 366e4, 2592e5, null].map(m.duration)"))
    assert.same({ "0", "<0.1", "0.5", "9.9", "10", "1,235", "–" },
      module("text.js", "[0, 0.01, 0.5, 9.94, 10, 1234.6, null].map(m.rate)"))
    assert.same({ "0 B", "1023 B", "1.0 KiB", "100 MiB", "1.5 GiB" },
      module("text.js", "[0, 1023, 1024, 104857600, 1610612736].map(m.bytes)"))
    assert.equal("1, 2 and 3 more", module("text.js", "m.some([1, 2, 3, 4, 5], 2)"))
    assert.same({ "none", 10, "again", 5 }, module("rates.js", [[(() => {
      const rates = new m.Rates(), said = [];
      rates.push(1000, { a: 100 });
      said.push(rates.rate("a") ?? "none");
      for (let i = 1; i <= 20; i++) rates.push(1000 + i * 1000, { a: 100 + i * 10 });
      said.push(rates.rate("a"));
      rates.push(30000, { a: 5 }); // the gateway has started again
      said.push(rates.rate("a") ?? "again");
      rates.push(31000, { a: 10 });
      said.push(rates.rate("a"));
      return said;
    })()]]))
    assert.same({ "M0.0 2.0L1.0 55.0M3.0 28.5" },
      module("charts.js", "[m.pathOf([10, 0, null, 5], [0, 1, 2, 3], 10)]"))
    assert.same({ "up", "behind", "far", "down", "off", "coming" }, module("shards.js",
      [=[[["Connected", 0], ["Connected", 1000], ["Connected", 30000], ["Disconnected", 0], ["Offline", 0],
        ["Identifying", 0]].map(([state, oldest]) => m.kindOf({ state, oldest }))]=]))
    assert.same({
      { text = "5 of 9 letters delivered, 1 refused again, 2 could not be delivered, 1 not tried: "
        .. "it is down. 2 went out without their tokens, which letters do not keep.", bad = true },
      { text = "1 of 1 letter delivered.", bad = false },
      { text = "There are no such letters.", bad = false },
    }, module("letters.js", [=[[[9, 5, 1, 2, 1, 2, "it is down"], [1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]
      .map(([letters, delivered, refused, failed, untried, masked, reason]) => m.outcomeOf({
        letters, delivered, refused, failed, untried, masked, problems: reason ? [{ reason }] : [],
      }))]=]))
    assert.same({ { "a", { 1 } }, { "b", 2 }, "event: c" }, module("stream.js", [[(() => {
      const seen = [], text = 'event: a\ndata: [1]\n\nevent: b\ndata: 2\n\nevent: c';
      const rest = m.takeEvents(text, (name, data) => seen.push([name, data]));
      return [...seen, rest];
    })()]]))
  end)
end)
