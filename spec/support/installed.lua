-- A program that may be replaced while it runs: a copy of the build's, at a path of its own.
--
--   local program = installed.new()
--   program.path
--   program:put { ["0.1.0"] = "0.2.0" }      the build's with other words in it, each as long as its own
--   program:put "#!/bin/sh\nexit 1\n"        or that text

local assert = require "luassert"
local paths = require "spec.support.paths"
local uv = require "luv"

local installed = {}

local Program = {}
Program.__index = Program

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

-- The file is another one afterwards; whoever runs the old one goes on with that.
local function put_file(path, text)
  local fresh = path .. ".new"
  local file = assert(io.open(fresh, "wb"))
  file:write(text)
  file:close()
  assert(uv.fs_chmod(fresh, 493)) -- 0755
  assert(os.rename(fresh, path))
end

local function with_words(program, words)
  for old, new in pairs(words) do
    assert.equal(#old, #new)
    local count
    program, count = program:gsub(old:gsub("%p", "%%%0"), (new:gsub("%%", "%%%%")))
    assert.is_true(count > 0, old .. " does not stand in the program")
  end
  return program
end

function installed.new()
  local self = setmetatable({ path = paths.tmp() .. "/tidegate" }, Program)
  self.original = read_file(paths.bin "tidegate")
  put_file(self.path, self.original)
  return self
end

function Program:put(what)
  put_file(self.path, type(what) == "table" and with_words(self.original, what) or what)
end

return installed
