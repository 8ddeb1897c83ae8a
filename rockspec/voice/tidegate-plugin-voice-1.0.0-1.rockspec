rockspec_format = "3.0"
package = "tidegate-plugin-voice"
version = "1.0.0-1"

source = {
  url = "git+https://github.com/tidegate/tidegate.git",
  tag = "v0.1.0",
  dir = "tidegate/rockspec/voice",
}

description = {
  summary = "Joins the two events of a bot's voice connection into one message, and rejoins after a new session",
  homepage = "https://github.com/tidegate/tidegate",
  license = "MIT",
}

dependencies = { "lua >= 5.1, < 5.2" }

build = {
  type = "builtin",
  modules = {
    ["tidegate.plugins.voice.handler"] = "tidegate/plugins/voice/handler.lua",
    ["tidegate.plugins.voice.schema"] = "tidegate/plugins/voice/schema.lua",
  },
}
