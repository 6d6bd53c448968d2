const fs = require("fs");
fs.mkdirSync("dist", { recursive: true });
fs.writeFileSync("dist/index.html", `<p>a page of ${require("ms")(600000)}</p>\n`);
