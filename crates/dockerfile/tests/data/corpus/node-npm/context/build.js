// What `next build` leaves for `output: "standalone"`, in small.
const fs = require("fs");
fs.mkdirSync(".next/standalone/node_modules", { recursive: true });
fs.mkdirSync(".next/static", { recursive: true });
fs.writeFileSync(".next/static/app.css", "body { margin: 0 }\n");
fs.cpSync("node_modules/ms", ".next/standalone/node_modules/ms", { recursive: true });
fs.copyFileSync("src/server.js", ".next/standalone/server.js");
