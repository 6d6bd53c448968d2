public class Main {
    public static void main(String[] args) {
        System.out.println("Java " + Runtime.version().feature() + " with " + ModuleLayer.boot().modules().size() + " modules");
    }
}
