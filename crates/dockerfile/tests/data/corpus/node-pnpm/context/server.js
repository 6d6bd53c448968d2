const ms = require("ms");
require("http").createServer((_, response) => response.end(`built for ${ms(7200000, { long: true })}\n`)).listen(8000);
process.on("SIGTERM", () => process.exit(0));
