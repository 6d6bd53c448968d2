from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import re_path

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="not-a-secret")
urlpatterns = [re_path("", lambda request: HttpResponse("django says " + request.path))]
application = get_wsgi_application()
