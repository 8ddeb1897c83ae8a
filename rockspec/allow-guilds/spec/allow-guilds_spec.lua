local test = require "tidegate.test"

local LOOK = 2000 -- ms, as long as nothing else is configured

describe("allow-guilds", function()
  local path

  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  local function write(text)
    local file = assert(io.open(path, "w"))
    file:write(text)
    file:close()
  end

  local function outcome(kit, guild, name)
    return kit:event(name or "TYPING_START", { guild_id = guild, user_id = "1" }).outcome
  end

  local function with_file(text, options)
    write(text)
    return test.plugin("allow-guilds", { file = path }, options)
  end

  it("lets events of listed guilds pass, and those of none", function()
    local kit = test.plugin("allow-guilds", { guilds = { "100", "200" } })
    assert.equal("passed", outcome(kit, "100"))
    assert.equal("passed", outcome(kit, "200", "MESSAGE_DELETE"))
    assert.equal("dropped", outcome(kit, "300"))
    assert.equal("dropped", outcome(kit, "300", "INTERACTION_CREATE"))
    assert.equal("passed", outcome(kit, nil))
  end)

  it("drops events of no guild if told so, but never what a bot starts with", function()
    local kit = test.plugin("allow-guilds", { guilds = { "100" }, without_guild = "drop" })
    assert.equal("dropped", outcome(kit, nil))
    assert.equal("passed", kit:event("READY", { guilds = {} }).outcome)
  end)

  it("is about some types of events alone, if they are named", function()
    local kit = test.plugin("allow-guilds", { guilds = { "100" }, events = { "MESSAGE_CREATE" } })
    assert.equal("dropped", outcome(kit, "300", "MESSAGE_CREATE"))
    assert.equal("passed", outcome(kit, "300"))
  end)

  it("reads ids from a file, with comments, beside those of the configuration", function()
    write "# of ours\n100 # the first\n200, 201\r\n\n"
    local kit = test.plugin("allow-guilds", { file = path, guilds = { "400" } })
    for _, guild in ipairs { "100", "200", "201", "400" } do assert.equal("passed", outcome(kit, guild)) end
    assert.equal("dropped", outcome(kit, "300"))
    write "300\n"
    kit:advance(2 * LOOK)
    for _, guild in ipairs { "300", "400" } do assert.equal("passed", outcome(kit, guild)) end
  end)

  it("takes a new list once it has found it the same twice", function()
    local kit = with_file "100\n"
    write "100\n300\n"
    kit:advance(LOOK)
    assert.equal("dropped", outcome(kit, "300"))
    kit:advance(LOOK)
    assert.equal("passed", outcome(kit, "300"))
    kit:advance(10 * LOOK)
    assert.equal(1, #kit:log("2 guilds are in " .. path))
    write "300\n"
    kit:advance(2 * LOOK)
    assert.equal("dropped", outcome(kit, "100"))
  end)

  for what, text in pairs {
    ["that is empty"] = "",
    ["that ends within a line"] = "300\n41771983",
    ["without ids"] = "# none yet\n",
    ["with what is no id"] = "300\n<html>\n",
  } do
    it("keeps the last good list when it finds one " .. what .. ", and says so once", function()
      local kit = with_file "100\n"
      write(text)
      kit:advance(10 * LOOK)
      assert.equal("passed", outcome(kit, "100"))
      assert.equal("dropped", outcome(kit, "300"))
      assert.equal(1, #kit:log "the last good list is kept")
      write "300\n"
      kit:advance(2 * LOOK)
      assert.equal("passed", outcome(kit, "300"))
    end)
  end

  it("keeps the last good list while the file is gone", function()
    local kit = with_file "100\n"
    os.remove(path)
    kit:advance(10 * LOOK)
    assert.equal("dropped", outcome(kit, "300"))
    assert.equal(1, #kit:log "No such file or directory; the last good list is kept")
    write "100\n"
    kit:advance(2 * LOOK)
    assert.equal(1, #kit:log "1 guilds are in")
  end)

  it("keeps the last good list through a reload", function()
    local kit = with_file "100\n"
    os.remove(path)
    assert.is_true((kit:reload()))
    assert.equal("passed", outcome(kit, "100"))
    assert.equal("dropped", outcome(kit, "300"))
  end)

  it("reads a long list without holding up events", function()
    local ids = {}
    for i = 1, 20000 do ids[i] = 41771983423143937 + 2 ^ 22 * i end
    local kit = with_file "100\n"
    for i = 1, #ids do ids[i] = ("%.0f"):format(ids[i]) end
    write(table.concat(ids, "\n") .. "\n")
    kit:advance(3 * LOOK)
    assert.equal("passed", outcome(kit, ids[#ids]))
    assert.equal("dropped", outcome(kit, "100"))
  end)

  it("does not begin without a list", function()
    local function refusal(...)
      local ok, problem = pcall(test.plugin, "allow-guilds", ...)
      assert.is_false(ok)
      return tostring(problem)
    end
    os.remove(path)
    assert.matches(path .. ": No such file or directory",
      refusal({ file = path }, { role = "manager" }), 1, true)
    assert.matches("plugins.allow-guilds: neither `guilds` nor `file` names a guild", refusal(), 1, true)
  end)

  it("lets all pass in a worker that finds no list in the midst of things, until there is one", function()
    os.remove(path)
    local kit = test.plugin("allow-guilds", { file = path })
    assert.equal("passed", outcome(kit, "300"))
    assert.equal(1, #kit:log "error")
    write "100\n"
    kit:advance(2 * LOOK)
    assert.equal("dropped", outcome(kit, "300"))
  end)
end)
