import six

print("a service with six", six.__version__)
