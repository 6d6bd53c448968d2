<%= "from " + "the archive" %>
