const answer = require("fs").readFileSync("built");
require("http").createServer((_, response) => response.end(answer)).listen(3000);
process.on("SIGTERM", () => process.exit(0));
