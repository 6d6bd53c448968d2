import six

print("sixes:", six.__version__)
