// A model's charts.
"use strict";
document.querySelectorAll("[data-chart]").forEach((place) => Charts.drawInView(place, () => Page.data(place.dataset.chart)));
