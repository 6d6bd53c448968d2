const ms = require("ms");
const answer = `served after ${ms(ms("2d"), { long: true })}, uid ${process.getuid()}\n`;
require("http").createServer((_, response) => response.end(answer)).listen(process.env.PORT);
process.on("SIGTERM", () => process.exit(0));
