// A page that could not be shown: the same post once more.
document.getElementById("retry").addEventListener("click", () => location.reload());
