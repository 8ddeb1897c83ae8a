std = "luajit"
max_line_length = 110
cache = false
exclude_files = { "build*", "**/.luarocks" }
files["examples"] = { self = false } -- methods that need no self are the rule
files["examples/scripts/spec"] = { std = "+busted" }
files["lua/template/spec"] = { std = "+busted" }
files["rockspec/*/spec"] = { std = "+busted" }
files["spec"] = { std = "+busted" }
files["lua/tidegate/meta"] = { ignore = { "211", "212", "213", "241" } } -- declarations without bodies
files[".busted"] = { std = "luajit" }
