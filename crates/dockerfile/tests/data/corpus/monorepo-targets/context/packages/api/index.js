console.log("the api after", require("ms")(300000), "as", require("os").userInfo().username);
