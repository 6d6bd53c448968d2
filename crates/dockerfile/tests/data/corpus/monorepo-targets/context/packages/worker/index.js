console.log("the worker");
