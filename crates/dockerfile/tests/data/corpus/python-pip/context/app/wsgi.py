import getpass


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"hello as {getpass.getuser()}\n".encode()]
