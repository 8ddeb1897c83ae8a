-- What bash, zsh and fish make of `tidegate completion`.

local paths = require "spec.support.paths"
local process = require "spec.support.process"

local tidegate = paths.bin "tidegate"

local function run(argv, env)
  local p = process.run(argv, { env = env, timeout = 20000 })
  assert.equal(0, p.exit_code, p.stderr .. p.stdout)
  assert.equal("", p.stderr)
  return p.stdout
end

local function has(shell)
  return process.run({ "sh", "-c", "command -v " .. shell }).exit_code == 0
end

local function lines(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = line end
  table.sort(list)
  return list
end

local function sorted(list)
  table.sort(list)
  return list
end

-- Each answers what may stand in the place of the last word.
local COMPLETE = {}

function COMPLETE.bash(...)
  local words = { ... }
  return lines(run { "bash", "--norc", "-c", ([[
    source <(%s completion bash) && COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) && _tidegate
    printf '%%s\n' "${COMPREPLY[@]}"]]):format(tidegate), "bash", "tidegate", unpack(words) })
end

function COMPLETE.fish(...)
  local line = "tidegate " .. table.concat({ ... }, " ")
  local found = run({ "fish", "--no-config", "-c",
    ('%s completion fish | source; complete -C "%s"'):format(tidegate, line) }, { HOME = paths.tmp() })
  return lines((found:gsub("\t[^\n]*", "")))
end

local function of_list(text)
  local list = {}
  for word in text:gmatch "\n  (%l[%l-]+) " do list[#list + 1] = word end
  return sorted(list)
end

local function ctl_commands()
  return of_list(run { tidegate, "ctl", "--help" })
end

describe("completion in", function()
  for shell, complete in pairs(COMPLETE) do
    it(shell .. " knows the words of each place", function()
      if not has(shell) then
        return pending(shell .. " is not installed")
      end
      assert.same({ "check", "completion", "ctl", "help", "plugin", "run", "test", "version" }, complete "")
      assert.same({ "install", "list", "new", "pack", "remove" }, complete("plugin", ""))
      assert.same({ "bash", "fish", "zsh" }, complete("completion", ""))
      assert.same(ctl_commands(), complete("ctl", ""))
      assert.same(ctl_commands(), complete("help", "ctl", ""))
      assert.same({ "forget" }, complete("ctl", "queue", "fo"))
      assert.same({ "abort", "status" }, complete("ctl", "reshard", ""))
      assert.same({ "configured", "debug", "error", "info", "warn" }, complete("ctl", "log-level", ""))
      assert.same({ "queue.disk_bytes", "queue.drop_first", "queue.durability" },
        complete("ctl", "config", "queue.d"))
      assert.same({}, complete("ctl", "queue", "forget", "old", "")) -- words of the user end it
      assert.same({}, complete("ctl", "status", ""))
    end)

    it(shell .. " knows the options of each command, where they stand, and behind values", function()
      if not has(shell) then
        return pending(shell .. " is not installed")
      end
      assert.same({ "--help", "--watch" }, complete("run", "--"))
      assert.same({ "--table", "--timeout" }, complete("ctl", "queue", "forget", "old", "--t"))
      assert.same({ "--wait" }, complete("ctl", "--timeout", "100", "status", "--w"))
      assert.same({ "reconnect", "reload", "reshard" }, complete("ctl", "--json", "re"))
      assert.same({}, complete("ctl", "shards", "--w"))
    end)
  end

  it("bash has for each command of ctl the options of its page", function()
    for _, command in ipairs(ctl_commands()) do
      local options = { "--help" }
      for option in run({ tidegate, "ctl", command, "--help" }):gmatch "\n  (%-%-%l+)" do
        options[#options + 1] = option
      end
      local found, seen = COMPLETE.bash("ctl", command, "--"), {}
      for _, option in ipairs(found) do seen[option] = true end
      for _, word in ipairs(COMPLETE.bash("ctl", command, "")) do -- actions have options of their own
        for _, option in ipairs(COMPLETE.bash("ctl", command, word, "--")) do seen[option] = true end
      end
      found = {}
      for option in pairs(seen) do found[#found + 1] = option end
      assert.same(sorted(options), sorted(found), command)
    end
  end)

  it("zsh works as it is typed", function()
    if not has "zsh" then
      return pending "zsh is not installed"
    end
    local dir = paths.tmp()
    paths.write(dir .. "/_tidegate", run { tidegate, "completion", "zsh" })
    -- A shell on a terminal of its own, which is told what a person would type, and read until it shows this.
    local driver = paths.write(dir .. "/driver", [[
zmodload zsh/zpty
zpty shell "TERM=dumb PS1= zsh -f -i"
zpty -w shell "cd $1; fpath=($1 \$fpath); autoload -U compinit; compinit -u -D; bindkey -e; PS1='rea''dy> '"
zpty -r shell out '*ready> *' # what is typed too early is not completed
show() { # what is typed, what it shows
  zpty -w -n shell $'\C-u'"$1"$'\t'
  zpty -r shell out "*$2*" && print -r -- "$1 -> $2"
}
show 'tidegate ctl queue fo' 'queue forget'
show 'tidegate ctl ide' 'ctl identify-budget'
show 'tidegate ctl queue --tim' 'queue --timeout'
show 'tidegate ctl --json log-level conf' 'log-level configured'
show 'tidegate plugin rem' 'plugin remove'
show 'tidegate ctl res' 'reshard'
show 'tidegate check dri' 'check driver'
zpty -d shell
]])
    local shown = lines(run({ "zsh", "-f", driver, dir }, { HOME = dir, TERM = "dumb" }))
    assert.equal(7, #shown, table.concat(shown, "\n"))
  end)

  it("no other shell: it is said", function()
    local p = process.run { tidegate, "completion", "tcsh" }
    assert.same({ 64, "" }, { p.exit_code, p.stdout })
    assert.matches('expected bash, zsh or fish, got "tcsh"', p.stderr, 1, true)
  end)
end)
