const fs = require("fs");
if (!require("is-number")(7)) process.exit(1);
fs.mkdirSync("dist", { recursive: true });
fs.copyFileSync("server.js", "dist/server.js");
