console.log(`${process.env.NODE_ENV}, ${require("ms")(86400000)}`);
