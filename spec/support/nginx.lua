-- An nginx of our own in the foreground, where a server of others is wanted.
--
--   local port = nginx.free_port()
--   local server = nginx.start(port, "location / { return 204; }")      what stands in its server block
--   local server = nginx.start(port, "ssl_certificate ...", "ssl")      with options of `listen`
--
-- Listens on 127.0.0.1; returns the process (spec/support/process.lua), which may not listen yet.

local paths = require "spec.support.paths"
local process = require "spec.support.process"
local uv = require "luv"

local nginx = {}

local CONFIG = [[
daemon off;
master_process off;
pid $dir/nginx.pid;
error_log $dir/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path $dir/body;
  proxy_temp_path $dir/proxy;
  fastcgi_temp_path $dir/fastcgi;
  uwsgi_temp_path $dir/uwsgi;
  scgi_temp_path $dir/scgi;
  server {
    listen 127.0.0.1:$port $options;
    $server
  }
}
]]

function nginx.free_port()
  local socket = uv.new_tcp()
  assert(socket:bind("127.0.0.1", 0))
  local port = socket:getsockname().port
  socket:close()
  return port
end

function nginx.start(port, server, options)
  local dir = paths.tmp()
  local values = { dir = dir, port = port, options = options or "", server = server }
  local config = paths.write(dir .. "/nginx.conf", (CONFIG:gsub("%$(%l+)", values)))
  local argv = { "nginx", "-p", dir, "-e", dir .. "/error.log", "-c", config }
  return process.start(argv, { env = { PATH = os.getenv "PATH" .. ":/usr/sbin:/sbin" } })
end

return nginx
