console.log(require("ms")(60000), "as", require("os").userInfo().username);
